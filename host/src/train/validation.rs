//! The validation batches of an epoch: terms, online metrics, an example to look at.

use super::metrics::Online;
use super::step::supervised_levels;
use super::terms::TermSums;
use super::watch::OnNonfinite;
use super::{Error, Training, example};
use crate::network;
use plugin_api::{Batch, Phase, Step};

impl Training<'_> {
    /// Validation batches: terms and online metrics. `None` when stopped.
    pub(super) fn validate(&mut self) -> Result<Option<(TermSums, Online)>, Error> {
        let _no_grad = tch::no_grad_guard();
        let mut sums = TermSums::default();
        let mut online = Online::new(self.model.trainer.outputs());
        for iteration in 0..self.identity.validation_iterations {
            if self.stopped() {
                return Ok(None);
            }
            let step = self.step_info(Phase::Validate, iteration, 0);
            let batch = self.next_batch(&step)?;
            if let Err(source) = self.validate_on(&batch, &step, &mut sums, &mut online) {
                let (epoch, cases) = (step.epoch, batch.cases.join(", "));
                if !source.is_nonfinite() || self.watchdogs.nonfinite != OnNonfinite::Skip {
                    return Err(Error::Step { epoch, iteration, cases, source });
                }
                self.log.line(&format!("Validation batch left out: {source} (epoch {epoch}, iteration {iteration}, cases {cases})"));
            }
        }
        Ok(Some((sums, online)))
    }

    fn validate_on(&mut self, batch: &Batch, step: &Step, sums: &mut TermSums, online: &mut Online) -> Result<(), network::Error> {
        let outputs = self.model.forward(&batch.image, supervised_levels(step), false, step.seed)?;
        let mut terms = self.model.trainer.loss(&outputs, batch, step)?;
        self.weigh(&mut terms)?;
        sums.add(&terms, batch.cases.len())?;
        online.add(&outputs, batch, self.task)?;
        if step.iteration == 0 && self.examples.is_some_and(|every| step.epoch.is_multiple_of(every)) {
            let path = self.folder.join(format!("examples/epoch_{:04}.png", step.epoch));
            // A picture is not worth a training.
            match example::draw(&path, &outputs, batch, self.model.trainer.outputs(), self.task) {
                Ok(png) => self.log.picture(png),
                Err(error) => log::warn!("{}: {error}", path.display()),
            }
        }
        Ok(())
    }
}
