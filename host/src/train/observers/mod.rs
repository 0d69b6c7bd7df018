//! Observers of a training: they write its files, all but the log, which all of them share. An observer does not steer the training; its error ends
//! it. Another observer is a file here and a line in [`observers()`].

mod checkpoints;
mod journal;
mod pictures;
mod watchdogs;

pub use pictures::EXAMPLES;

use super::Error;
use super::learner::{Learner, StepReport, ValidationReport};
use crate::artifact::Identity;
use crate::config::Upkeep;
use crate::report::{EpochRecord, RunLog};
use plugin_api::Batch;
use std::fmt;
use std::path::Path;

/// What an observer sees: a network in training, and the log that all share.
#[derive(Debug)]
pub struct Observed<'l, 'a> {
    /// The network.
    pub learner: &'l mut Learner<'a>,
    /// Its log.
    pub log: &'l mut RunLog,
}

impl Observed<'_, '_> {
    /// Says a warning, once in a training.
    pub(super) fn warn(&mut self, warning: &str) {
        if self.learner.progress.note_warning(warning) {
            self.log.line(&format!("Warning: {warning}"));
        }
    }
}

/// Looks at a training, in the order of [`observers()`]. Errors end it.
pub trait Observer: fmt::Debug {
    /// After a step on `batches`.
    fn step(&mut self, _seen: &mut Observed, _batches: &[Batch], _report: &StepReport) -> Result<(), Error> {
        Ok(())
    }

    /// After a validation batch.
    fn validated(&mut self, _seen: &mut Observed, _batch: &Batch, _report: &ValidationReport) -> Result<(), Error> {
        Ok(())
    }

    /// All steps and validation batches of an epoch are done.
    fn trained(&mut self, _seen: &mut Observed) -> Result<(), Error> {
        Ok(())
    }

    /// That epoch has been measured; the trainer is not told yet.
    fn measured(&mut self, _seen: &mut Observed, _record: &EpochRecord) -> Result<(), Error> {
        Ok(())
    }

    /// The trainer has been told, and it is decided whether there is a next epoch.
    fn ended(&mut self, _seen: &mut Observed, _record: &EpochRecord) -> Result<(), Error> {
        Ok(())
    }

    /// The next epoch has come; the one before was the best so far, or not.
    fn advanced(&mut self, _seen: &mut Observed, _best: bool) -> Result<(), Error> {
        Ok(())
    }

    /// The user has stopped the training.
    fn interrupted(&mut self, _seen: &mut Observed) -> Result<(), Error> {
        Ok(())
    }

    /// The training has ended.
    fn finished(&mut self, _seen: &mut Observed) -> Result<(), Error> {
        Ok(())
    }
}

/// Everything that looks at the training of one fold in `folder`, whose checkpoints belong to `identity`. Of several processes, one writes.
pub fn observers(folder: &Path, identity: &Identity, upkeep: &Upkeep, learner: &Learner) -> Vec<Box<dyn Observer>> {
    if !learner.share.writes() {
        return Vec::new();
    }
    vec![
        Box::new(journal::Journal::new(folder)),
        Box::new(watchdogs::Watchdogs::new(folder, upkeep, learner)),
        Box::new(pictures::Pictures::new(folder, upkeep)),
        Box::new(checkpoints::Checkpoints::new(folder, identity, upkeep)),
    ]
}
