//! What a person would notice too late: numbers that ran out of range, terms that train nothing, targets that no sample has, scores that rise no more.

use super::super::learner::{Failure, Learner, StepReport, ValidationReport};
use super::super::{Error, StepError, watch};
use super::{Observer, Seen};
use crate::config::{OnNonfinite, Upkeep};
use crate::report::EpochRecord;
use plugin_api::{Batch, Manifest};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// After so many skipped steps in a row there is nothing to hope for.
const MOST_SKIPS: u64 = 20;
/// A learned weight below this share of its first value is named.
const LEAST_OF_FIRST: f64 = 0.01;

#[derive(Debug)]
pub(super) struct Watchdogs {
    folder: PathBuf,
    on_nonfinite: OnNonfinite,
    plateau: u64,
    early_stop: u64,
    /// Targets of outputs that no sample has had yet.
    unseen: BTreeSet<String>,
}

impl Watchdogs {
    pub fn new(folder: &Path, upkeep: &Upkeep, learner: &Learner) -> Self {
        let Upkeep { on_nonfinite, plateau, early_stop, .. } = *upkeep;
        let unseen = learner.model.trainer.outputs().iter().filter_map(|output| output.target.clone()).collect();
        Self { folder: folder.to_owned(), on_nonfinite, plateau, early_stop, unseen }
    }

    /// Notes which targets some sample has. A look costs nothing once all were there.
    fn look_for_targets(&mut self, batches: &[Batch]) -> Result<(), StepError> {
        for name in self.unseen.clone() {
            for target in batches.iter().filter_map(|batch| batch.targets.get(&name)) {
                if target.presence.f_any()?.int64_value(&[]) != 0 {
                    self.unseen.remove(&name);
                }
            }
        }
        Ok(())
    }

    /// Decides what is done about a step that was not taken.
    fn nonfinite(&self, seen: &mut Seen, failure: Failure, batches: &[Batch]) -> Result<(), Error> {
        let Failure { epoch, iteration, cases, source } = &failure;
        match self.on_nonfinite {
            OnNonfinite::Stop => Err(failure.into()),
            OnNonfinite::Dump => {
                let mut files = Vec::new();
                for (i, batch) in batches.iter().enumerate() {
                    let path = self.folder.join(format!("nonfinite_epoch_{epoch}_iteration_{iteration}_batch_{i}.safetensors"));
                    watch::dump(&path, batch).map_err(Error::Model)?;
                    files.push(path.display().to_string());
                }
                seen.log.line(&format!("The batch is in {}", files.join(", ")));
                Err(failure.into())
            }
            OnNonfinite::Skip => {
                let progress = &mut seen.learner.progress;
                progress.skipped += 1;
                progress.skipped_in_a_row += 1;
                let cases = cases.join(", ");
                seen.log.line(&format!("Step left out: {source} (epoch {epoch}, iteration {iteration}, cases {cases})"));
                if progress.skipped_in_a_row >= MOST_SKIPS { Err(failure.into()) } else { Ok(()) }
            }
        }
    }

    /// Says so when scores rise no more, and ends the training where that was asked for.
    fn look_at_scores(&self, seen: &mut Seen) {
        let Some((_, best_epoch)) = seen.learner.progress.best else { return };
        let epochs = seen.learner.progress.epoch - best_epoch;
        if self.plateau > 0 && self.plateau == epochs {
            seen.log.line(&format!("Plateau: the best epoch was {best_epoch}, {epochs} epochs ago"));
        }
        if self.early_stop > 0 && epochs >= self.early_stop {
            seen.log.line(&format!("Stopped early: the best epoch was {best_epoch}, {epochs} epochs ago"));
            seen.learner.progress.stopped_early = true;
        }
    }
}

impl Observer for Watchdogs {
    fn step(&mut self, seen: &mut Seen, batches: &[Batch], report: &mut StepReport) -> Result<(), Error> {
        self.look_for_targets(batches).map_err(Error::Model)?;
        report.failure.take().map_or(Ok(()), |failure| self.nonfinite(seen, failure, batches))
    }

    fn validated(&mut self, seen: &mut Seen, _batch: &Batch, report: &mut ValidationReport) -> Result<(), Error> {
        let Some(failure) = report.failure.take() else { return Ok(()) };
        if self.on_nonfinite != OnNonfinite::Skip {
            return Err(failure.into());
        }
        let Failure { epoch, iteration, cases, source } = failure;
        let cases = cases.join(", ");
        seen.log.line(&format!("Validation batch left out: {source} (epoch {epoch}, iteration {iteration}, cases {cases})"));
        Ok(())
    }

    /// Whether the steps of the epoch have trained anything.
    fn trained(&mut self, seen: &mut Seen) -> Result<(), Error> {
        let progress = &seen.learner.progress;
        let sums = &progress.sums;
        if sums.is_empty() && sums.silent() > 0 {
            let Manifest { id, version, .. } = &seen.learner.model.trainer.identity().manifest;
            return Err(Error::NoTerms { plugin: format!("{id} {version}"), epoch: progress.epoch, steps: sums.silent() });
        }
        let (means, first_weights) = (sums.means(), progress.first_weights.clone());
        if !means.is_empty() && means.values().all(|mean| mean.weight == 0.0) {
            seen.learner.warn("all terms had weight 0 in every step of an epoch: nothing was trained in it");
        }
        for (term, first) in first_weights {
            if means.get(&term).is_some_and(|mean| mean.weight.abs() < LEAST_OF_FIRST * first.abs()) {
                seen.learner.warn(&format!(
                    "the learned weight of term '{term}' has fallen below 1 % of what it began with, {first:.3}: a weight that costs nothing falls for ever; \
                     `Base::learn_weights` has a price, or bound it"
                ));
            }
        }
        Ok(())
    }

    fn measured(&mut self, seen: &mut Seen, _record: &EpochRecord) -> Result<(), Error> {
        for target in &self.unseen {
            seen.learner.warn(&format!("no sample of an epoch had target '{target}': the output that learns it has learnt nothing"));
        }
        for term in seen.learner.progress.sums.constant().map(str::to_owned).collect::<Vec<_>>() {
            seen.learner.warn(&format!("term '{term}' had the same value in every step of an epoch"));
        }
        self.look_at_scores(seen);
        Ok(())
    }
}
