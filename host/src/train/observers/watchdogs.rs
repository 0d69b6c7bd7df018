//! What a person would notice too late: numbers that ran out of range, terms that train nothing, targets that no sample has, scores that rise no more.

use super::super::learner::{Failure, Learner, StepReport, ValidationReport};
use super::super::{Error, StepError};
use super::{Observed, Observer};
use crate::config::{OnNonfinite, Upkeep};
use crate::report::EpochRecord;
use plugin_api::{Batch, Manifest};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// A learned weight below this share of its first value is named.
const LEAST_OF_FIRST: f64 = 0.01;

#[derive(Debug)]
pub(super) struct Watchdogs {
    folder: PathBuf,
    on_nonfinite: OnNonfinite,
    plateau: u64,
    /// Targets of outputs that no sample has had yet.
    unseen: BTreeSet<String>,
}

impl Watchdogs {
    pub fn new(folder: &Path, upkeep: &Upkeep, learner: &Learner) -> Self {
        let Upkeep { on_nonfinite, plateau, .. } = *upkeep;
        let unseen = learner.model.trainer.outputs().iter().filter_map(|output| output.target.clone()).collect();
        Self { folder: folder.to_owned(), on_nonfinite, plateau, unseen }
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

    /// Says what became of a step that was not taken.
    fn nonfinite(&self, seen: &mut Observed, failure: &Failure, batches: &[Batch]) -> Result<(), Error> {
        let Failure { epoch, iteration, cases, source, .. } = failure;
        match self.on_nonfinite {
            OnNonfinite::Stop => {}
            OnNonfinite::Dump => {
                let mut files = Vec::new();
                for (i, batch) in batches.iter().enumerate() {
                    let path = self.folder.join(format!("nonfinite_epoch_{epoch}_iteration_{iteration}_batch_{i}.safetensors"));
                    dump(&path, batch).map_err(Error::Model)?;
                    files.push(path.display().to_string());
                }
                seen.log.line(&format!("The batch is in {}", files.join(", ")));
            }
            OnNonfinite::Skip => {
                seen.log.line(&format!("Step left out: {source} (epoch {epoch}, iteration {iteration}, cases {})", cases.join(", ")));
            }
        }
        Ok(())
    }
}

impl Observer for Watchdogs {
    fn step(&mut self, seen: &mut Observed, batches: &[Batch], report: &StepReport) -> Result<(), Error> {
        self.look_for_targets(batches).map_err(Error::Model)?;
        report.failure.as_ref().map_or(Ok(()), |failure| self.nonfinite(seen, failure, batches))
    }

    fn validated(&mut self, seen: &mut Observed, _batch: &Batch, report: &ValidationReport) -> Result<(), Error> {
        if let Some(Failure { epoch, iteration, cases, source, ends: false }) = &report.failure {
            let cases = cases.join(", ");
            seen.log.line(&format!("Validation batch left out: {source} (epoch {epoch}, iteration {iteration}, cases {cases})"));
        }
        Ok(())
    }

    /// Whether the steps of the epoch have trained anything.
    fn trained(&mut self, seen: &mut Observed) -> Result<(), Error> {
        let progress = &seen.learner.progress;
        let sums = &progress.sums;
        if sums.is_empty() && sums.silent() > 0 {
            let Manifest { id, version, .. } = &seen.learner.model.trainer.identity().manifest;
            return Err(Error::NoTerms { plugin: format!("{id} {version}"), epoch: progress.epoch, steps: sums.silent() });
        }
        let (means, first_weights) = (sums.means(), progress.first_weights.clone());
        if !means.is_empty() && means.values().all(|mean| mean.weight == 0.0) {
            seen.warn("all terms had weight 0 in every step of an epoch: nothing was trained in it");
        }
        for (term, first) in first_weights {
            if means.get(&term).is_some_and(|mean| mean.weight.abs() < LEAST_OF_FIRST * first.abs()) {
                seen.warn(&format!(
                    "the learned weight of term '{term}' has fallen below 1 % of what it began with, {first:.3}: a weight that costs nothing falls for ever; \
                     `Base::learn_weights` has a price, or bound it"
                ));
            }
        }
        Ok(())
    }

    fn measured(&mut self, seen: &mut Observed, _record: &EpochRecord) -> Result<(), Error> {
        for target in &self.unseen {
            seen.warn(&format!("no sample of an epoch had target '{target}': the output that learns it has learnt nothing"));
        }
        for term in seen.learner.progress.sums.constant().map(str::to_owned).collect::<Vec<_>>() {
            seen.warn(&format!("term '{term}' had the same value in every step of an epoch"));
        }
        Ok(())
    }

    /// Says so when scores rise no more.
    fn ended(&mut self, seen: &mut Observed, _record: &EpochRecord) -> Result<(), Error> {
        let (Some(epochs), Some((_, best))) = (seen.learner.since_best(), seen.learner.progress.best) else { return Ok(()) };
        if self.plateau > 0 && self.plateau == epochs {
            seen.log.line(&format!("Plateau: the best epoch was {best}, {epochs} epochs ago"));
        }
        if seen.learner.progress.stopped_early {
            seen.log.line(&format!("Stopped early: the best epoch was {best}, {epochs} epochs ago"));
        }
        Ok(())
    }
}

/// Writes `batch` to `path` (safetensors: `image`, `<target>.<level>`), for a look at what broke a step.
fn dump(path: &Path, batch: &Batch) -> Result<(), StepError> {
    let mut tensors = vec![("image".to_owned(), batch.image.shallow_clone())];
    for (name, target) in &batch.targets {
        tensors.extend(target.levels.iter().enumerate().map(|(level, tensor)| (format!("{name}.{level}"), tensor.shallow_clone())));
    }
    let folder = path.parent().unwrap_or(Path::new("."));
    let unfinished = tempfile::Builder::new().prefix(".writing-").tempfile_in(folder).map_err(tch::TchError::from)?;
    Tensor::write_safetensors(&tensors, unfinished.path())?;
    unfinished.persist(path).map_err(|error| tch::TchError::from(error.error))?;
    Ok(())
}
