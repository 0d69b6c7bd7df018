//! The validation batches of an epoch: terms, and online metrics.

use super::learner::{Failure, Learner, ValidationReport};
use super::metrics::{Online, Predicted};
use super::step::supervised_levels;
use super::terms::TermSums;
use super::{Error, StepError};
use crate::config::OnNonfinite;
use plugin_api::{Batch, Phase, Step};

/// What the validation batches of an epoch have said so far.
#[derive(Debug)]
pub(super) struct Validated {
    pub sums: TermSums,
    pub online: Online,
}

impl Validated {
    pub fn new(learner: &Learner) -> Self {
        Self { sums: TermSums::default(), online: Online::new(learner.model.trainer.outputs()) }
    }
}

impl Learner<'_> {
    /// Adds what `batch` says to `validated`.
    pub(super) fn validate(&mut self, batch: &Batch, iteration: u64, validated: &mut Validated) -> Result<ValidationReport, Error> {
        let _no_grad = tch::no_grad_guard();
        let step = self.step_info(Phase::Validate, iteration, 0);
        match self.validate_on(batch, &step, validated) {
            Ok(predicted) => Ok(ValidationReport { step, predicted: Some(predicted), failure: None }),
            Err(source) => {
                let ends = self.on_nonfinite != OnNonfinite::Skip;
                let failure = Failure { epoch: step.epoch, iteration, cases: batch.cases.clone(), source, ends };
                if failure.source.is_nonfinite() {
                    Ok(ValidationReport { step, predicted: None, failure: Some(failure) })
                } else {
                    Err(failure.into())
                }
            }
        }
    }

    fn validate_on(&mut self, batch: &Batch, step: &Step, validated: &mut Validated) -> Result<Predicted, StepError> {
        let outputs = self.model.forward(&batch.image, supervised_levels(step), false, step.seed)?;
        let mut terms = self.model.trainer.loss(&outputs, batch, step)?;
        self.weigh(&mut terms)?;
        validated.sums.add(&terms, batch.cases.len())?;
        let predicted = Predicted::of(&self.model.trainer, &outputs)?;
        validated.online.add(&predicted, batch, self.task)?;
        validated.online.add_own(self.model.trainer.metrics(&outputs, batch, step)?);
        Ok(predicted)
    }
}
