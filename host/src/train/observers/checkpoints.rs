//! Checkpoints: at the end of epochs, now and then within them, and at the end. Each holds a probe, which prediction is compared with.

use super::super::learner::{Learner, StepReport};
use super::super::{Error, StepError};
use super::{Observed, Observer};
use crate::artifact::{Identity, checkpoint_path, keep_epoch, save_checkpoint};
use crate::config::Upkeep;
use crate::model::Probe;
use plugin_api::{Batch, Manifest};
use std::path::{Path, PathBuf};
use std::time::Instant;
use tch::Device;

#[derive(Debug)]
pub(super) struct Checkpoints {
    folder: PathBuf,
    identity: Identity,
    upkeep: Upkeep,
    /// When the last one was written.
    saved: Instant,
    /// Sizes of the maps that the trainer is probed with, if any, once it was compared with a new one.
    probed: Option<Option<Vec<Vec<i64>>>>,
}

impl Checkpoints {
    pub fn new(folder: &Path, identity: &Identity, upkeep: &Upkeep) -> Self {
        Self { folder: folder.to_owned(), identity: identity.clone(), upkeep: upkeep.clone(), saved: Instant::now(), probed: None }
    }

    fn save(&mut self, seen: &mut Observed, which: &str) -> Result<(), Error> {
        let probe = self.probe(seen)?;
        // After all that was said, which the checkpoint will not say again.
        seen.learner.progress.log_lengths = seen.log.lengths()?;
        let Learner { model, progress, .. } = &*seen.learner;
        save_checkpoint(&checkpoint_path(&self.folder, which), model, seen.learner.state(), progress, &self.identity, probe.as_ref())?;
        self.saved = Instant::now();
        Ok(())
    }

    /// What a trainer that is made as prediction makes it makes of made-up maps, with the weights that prediction will use. The first time,
    /// it must say the same as the live one.
    fn probe(&mut self, seen: &mut Observed) -> Result<Option<Probe>, Error> {
        seen.learner.swap_average()?;
        let probe = self.probe_with_these_weights(seen);
        seen.learner.swap_average()?;
        probe
    }

    fn probe_with_these_weights(&mut self, seen: &mut Observed) -> Result<Option<Probe>, Error> {
        if self.probed.is_none() && !self.compare_with_a_new_trainer(seen)? {
            return Ok(None);
        }
        let Some(Some(sizes)) = self.probed.clone() else { return Ok(None) };
        match seen.learner.model.probe_anew(&sizes, Device::Cpu) {
            Ok(probe) => Ok(Some(probe)),
            // Weights that are out of range are the watchdogs' business.
            Err(error) if error.is_nonfinite() => Ok(None),
            Err(error) => {
                seen.warn(&format!("checkpoints hold no probe: {error}"));
                Ok(None)
            }
        }
    }

    /// Compares, and notes with which maps; whether that was possible.
    fn compare_with_a_new_trainer(&mut self, seen: &mut Observed) -> Result<bool, Error> {
        let sizes = match seen.learner.model.probed_maps() {
            Ok(Some(sizes)) => sizes,
            other => {
                let why = other.err().map_or_else(|| "it accepts no small maps".to_owned(), |error| error.to_string());
                let id = seen.learner.model.trainer.identity().manifest.id.clone();
                seen.warn(&format!("plugin {id}: whether prediction will do what was trained is not compared: {why}"));
                self.probed = Some(None);
                return Ok(false);
            }
        };
        let device = seen.learner.model.parameters.device();
        let both = seen.learner.model.probe(&sizes).and_then(|live| Ok((live, seen.learner.model.probe_anew(&sizes, device)?)));
        let (live, anew) = match both {
            // At the next checkpoint.
            Err(error) if error.is_nonfinite() => return Ok(false),
            both => both.map_err(StepError::from)?,
        };
        if let Some(difference) = anew.difference(&live) {
            let Manifest { id, version, .. } = &seen.learner.model.trainer.identity().manifest;
            return Err(Error::NotReproduced { plugin: format!("{id} {version}"), difference });
        }
        self.probed = Some(Some(sizes));
        Ok(true)
    }
}

impl Observer for Checkpoints {
    fn step(&mut self, seen: &mut Observed, _batches: &[Batch], report: &StepReport) -> Result<(), Error> {
        let ends = report.failure.as_ref().is_some_and(|failure| failure.ends);
        if !ends && self.upkeep.interval().is_some_and(|interval| self.saved.elapsed() >= interval) {
            self.save(seen, "latest")
        } else {
            Ok(())
        }
    }

    fn advanced(&mut self, seen: &mut Observed, best: bool) -> Result<(), Error> {
        if best {
            self.save(seen, "best")?;
        }
        let epoch = seen.learner.progress.epoch;
        if epoch.is_multiple_of(self.upkeep.checkpoint_every) {
            self.save(seen, "latest")?;
            if self.upkeep.keep_last > 0 {
                keep_epoch(&self.folder, epoch, self.upkeep.keep_last);
            }
        }
        Ok(())
    }

    fn interrupted(&mut self, seen: &mut Observed) -> Result<(), Error> {
        self.save(seen, "latest")?;
        let (epoch, iteration) = (seen.learner.progress.epoch, seen.learner.progress.iteration);
        seen.log.line(&format!("Stopped in epoch {epoch}, iteration {iteration}. Go on with --resume."));
        Ok(())
    }

    fn finished(&mut self, seen: &mut Observed) -> Result<(), Error> {
        self.save(seen, "final")?;
        // It would hold the same; nnU-Net removes it, too.
        let _ = std::fs::remove_file(checkpoint_path(&self.folder, "latest"));
        Ok(())
    }
}
