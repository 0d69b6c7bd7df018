//! A picture of the first validation sample, now and then.

use super::super::learner::ValidationReport;
use super::super::{Error, example};
use super::{Observed, Observer};
use crate::config::Upkeep;
use plugin_api::Batch;
use std::path::{Path, PathBuf};

/// Folder of the example pictures, in that of a fold.
pub const EXAMPLES: &str = "examples";

#[derive(Debug)]
pub(super) struct Pictures {
    folder: PathBuf,
    /// Epochs from one to the next; 0 for none.
    every: u64,
}

impl Pictures {
    pub fn new(folder: &Path, upkeep: &Upkeep) -> Self {
        Self { folder: folder.join(EXAMPLES), every: upkeep.examples }
    }
}

impl Observer for Pictures {
    fn validated(&mut self, seen: &mut Observed, batch: &Batch, report: &ValidationReport) -> Result<(), Error> {
        let (epoch, iteration) = (report.step.epoch, report.step.iteration);
        let Some(predicted) = report.predicted.as_ref().filter(|_| iteration == 0 && self.every > 0 && epoch.is_multiple_of(self.every))
        else {
            return Ok(());
        };
        let _no_grad = tch::no_grad_guard();
        let path = self.folder.join(format!("epoch_{epoch:04}.png"));
        // A picture is not worth a training.
        match example::draw(&path, predicted, batch, seen.learner.model.trainer.outputs(), seen.learner.task) {
            Ok(png) => seen.log.picture(png),
            Err(error) => log::warn!("{}: {error}", path.display()),
        }
        Ok(())
    }
}
