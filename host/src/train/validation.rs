//! The validation batches of an epoch: terms, online metrics, an example to look at.

use super::metrics::{Online, Predicted};
use super::step::supervised_levels;
use super::terms::TermSums;
use super::{Arm, Error, StepError, example};
use crate::config::OnNonfinite;
use plugin_api::{Batch, Phase, Step};

/// Folder of the example pictures, in that of a fold.
pub const EXAMPLES: &str = "examples";

/// What the validation batches of an epoch have said so far.
#[derive(Debug)]
pub(super) struct Validated {
    pub sums: TermSums,
    pub online: Online,
}

impl Validated {
    pub fn new(arm: &Arm) -> Self {
        Self { sums: TermSums::default(), online: Online::new(arm.model.trainer.outputs()) }
    }
}

impl Arm<'_> {
    /// Adds what `batch` says to `validated`.
    pub(super) fn validate(&mut self, batch: &Batch, iteration: u64, validated: &mut Validated) -> Result<(), Error> {
        let _no_grad = tch::no_grad_guard();
        let step = self.step_info(Phase::Validate, iteration, 0);
        let Err(source) = self.validate_on(batch, &step, validated) else { return Ok(()) };
        let (epoch, cases) = (step.epoch, batch.cases.join(", "));
        if !source.is_nonfinite() || self.upkeep.on_nonfinite != OnNonfinite::Skip {
            return Err(Error::Step { epoch, iteration, cases, source });
        }
        self.log.line(&format!("Validation batch left out: {source} (epoch {epoch}, iteration {iteration}, cases {cases})"));
        Ok(())
    }

    fn validate_on(&mut self, batch: &Batch, step: &Step, validated: &mut Validated) -> Result<(), StepError> {
        let outputs = self.model.forward(&batch.image, supervised_levels(step), false, step.seed)?;
        let mut terms = self.model.trainer.loss(&outputs, batch, step)?;
        self.weigh(&mut terms)?;
        validated.sums.add(&terms, batch.cases.len())?;
        let predicted = Predicted::of(&self.model.trainer, &outputs)?;
        validated.online.add(&predicted, batch, self.task)?;
        validated.online.add_own(self.model.trainer.metrics(&outputs, batch, step)?);
        if step.iteration == 0 && self.upkeep.examples > 0 && step.epoch.is_multiple_of(self.upkeep.examples) {
            let path = self.folder.join(EXAMPLES).join(format!("epoch_{:04}.png", step.epoch));
            // A picture is not worth a training.
            match example::draw(&path, &predicted, batch, self.model.trainer.outputs(), self.task) {
                Ok(png) => self.log.picture(png),
                Err(error) => log::warn!("{}: {error}", path.display()),
            }
        }
        Ok(())
    }
}
