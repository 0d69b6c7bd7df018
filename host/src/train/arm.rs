//! One network in training, alone or beside others: where it stands, and what it does before and after the steps of an epoch.

use super::validation::Validated;
use super::weighting::{Cosines, SharedLayer};
use super::{Average, Error, Optimiser, Progress, Reach, StepError, TermSums, metrics};
use crate::artifact::{Identity, checkpoint_path, keep_epoch, save_checkpoint};
use crate::config::Upkeep;
use crate::loading::Loader;
use crate::memory;
use crate::model::{Model, Probe};
use crate::report::{EpochRecord, RunLog, TermMean, progress};
use plugin_api::{Epoch, EpochReport, Manifest, Task};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;
use tch::Device;

/// Weight of the newest epoch in the moving averages.
const EMA_NEWEST: f64 = 0.1;
/// A learned weight below this share of its first value is named.
const LEAST_OF_FIRST: f64 = 0.01;

/// One network, all that moves it, and all that it leaves.
#[derive(Debug)]
pub struct Arm<'a> {
    /// Its name; empty where it is the only one.
    pub name: String,
    /// What is trained.
    pub model: &'a mut Model,
    /// What it is told.
    pub task: &'a Task,
    /// Its place among the arms, and that of its transform among the loader's.
    pub number: usize,
    /// Weights of the supervised levels, finest first, of sum 1.
    pub level_weights: Vec<f64>,
    /// Where the fold's files go.
    pub folder: PathBuf,
    /// What its checkpoints belong to.
    pub identity: Identity,
    /// What looks after it.
    pub upkeep: Upkeep,
    /// The optimiser.
    pub optimiser: Optimiser,
    /// Average of the weights, where there is one.
    pub average: Option<Average>,
    /// Where training stands.
    pub progress: Progress,
    /// Its logs.
    pub log: RunLog,
    /// Which terms train the trunk.
    pub reach: Reach,
    /// Where gradients of terms are compared.
    pub shared: SharedLayer,
    /// When the last checkpoint was written.
    pub saved: Instant,
    /// Sizes of the maps that the trainer is probed with, if any, once it was compared with a new one.
    pub probed: Option<Option<Vec<Vec<i64>>>>,
    /// The terms that are given schedules exist.
    pub names_checked: bool,
    /// Targets of outputs that no sample has had yet.
    pub unseen: BTreeSet<String>,
}

/// What the loaders did in an epoch, in seconds.
pub(super) struct DataTimes {
    waited: f64,
    read: f64,
    decode: f64,
    augment: f64,
}

impl DataTimes {
    pub(super) fn of(loaders: [&mut Loader; 2]) -> Self {
        let mut all = Self { waited: 0.0, read: 0.0, decode: 0.0, augment: 0.0 };
        for loader in loaders {
            let (waited, times) = loader.take_times();
            all.waited += waited.as_secs_f64();
            all.read += times.read.as_secs_f64();
            all.decode += times.decode.as_secs_f64();
            all.augment += times.augment.as_secs_f64();
        }
        all
    }
}

impl Arm<'_> {
    pub(super) fn is_done(&self) -> bool {
        self.progress.epoch >= self.task.epochs || self.progress.stopped_early
    }

    /// `error`, with this arm's name where there are others.
    pub(super) fn named(&self, error: Error) -> Error {
        if self.name.is_empty() { error } else { Error::Arm { name: self.name.clone(), source: Box::new(error) } }
    }

    pub(super) fn start_epoch(&mut self) -> Result<(), Error> {
        // Not again after an interruption: the plugin's state already knows.
        if !self.progress.epoch_started {
            self.model.trainer.epoch_start(&Epoch { epoch: self.progress.epoch, epochs: self.task.epochs }).map_err(StepError::from)?;
            self.progress.epoch_started = true;
        }
        Ok(())
    }

    pub(super) fn learning_rate(&self) -> f64 {
        let recipe = &self.identity.recipe;
        recipe.schedule.rate(recipe.learning_rate, self.progress.epoch, self.task.epochs)
    }

    pub(super) fn save_now_and_then(&mut self) -> Result<(), Error> {
        if self.upkeep.interval().is_some_and(|interval| self.saved.elapsed() >= interval) { self.checkpoint("latest") } else { Ok(()) }
    }

    /// Record, report to the plugin, checkpoints.
    pub(super) fn finish_epoch(&mut self, validated: Validated, data: &DataTimes) -> Result<(), Error> {
        let epoch = self.progress.epoch;
        self.look_at_training()?;
        self.progress.weighting.after_epoch(&self.identity.recipe.weighting);
        let record = self.record(validated, data);
        record.lines().iter().for_each(|line| self.log.line(line));
        for target in self.unseen.clone() {
            self.warn(&format!("no sample of an epoch had target '{target}': the output that learns it has learnt nothing"));
        }
        for term in self.progress.sums.constant().map(str::to_owned).collect::<Vec<_>>() {
            self.warn(&format!("term '{term}' had the same value in every step of an epoch"));
        }
        let unweighted =
            |means: &indexmap::IndexMap<String, TermMean>| means.iter().map(|(name, mean)| (name.clone(), mean.value)).collect();
        let report = EpochReport {
            epoch,
            train: unweighted(&record.train),
            validation: unweighted(&record.validation),
            metrics: record.metrics.clone(),
        };
        self.model.trainer.epoch_end(&report).map_err(StepError::from)?;
        self.look_at_scores();
        let best = record.best;
        self.log.record(record)?;
        progress::draw(&self.folder.join("progress.png"), self.log.records());

        self.progress = Progress {
            epoch: epoch + 1,
            iteration: 0,
            seconds: 0.0,
            epoch_started: false,
            sums: TermSums::default(),
            cosines: Cosines::default(),
            gradient_norms: 0.0,
            skipped: 0,
            ..self.progress.clone()
        };
        if best {
            self.checkpoint("best")?;
        }
        if self.progress.epoch.is_multiple_of(self.upkeep.checkpoint_every) {
            self.checkpoint("latest")?;
            if self.upkeep.keep_last > 0 {
                keep_epoch(&self.folder, self.progress.epoch, self.upkeep.keep_last);
            }
        }
        Ok(())
    }

    /// Whether the steps of the epoch have trained anything.
    fn look_at_training(&mut self) -> Result<(), Error> {
        let sums = &self.progress.sums;
        let Manifest { id, version, .. } = &self.model.trainer.identity().manifest;
        if sums.is_empty() && sums.silent() > 0 {
            return Err(Error::NoTerms { plugin: format!("{id} {version}"), epoch: self.progress.epoch, steps: sums.silent() });
        }
        let means = sums.means();
        if !means.is_empty() && means.values().all(|mean| mean.weight == 0.0) {
            self.warn("all terms had weight 0 in every step of an epoch: nothing was trained in it");
        }
        for (term, first) in self.progress.first_weights.clone() {
            if means.get(&term).is_some_and(|mean| mean.weight.abs() < LEAST_OF_FIRST * first.abs()) {
                self.warn(&format!(
                    "the learned weight of term '{term}' has fallen below 1 % of what it began with, {first:.3}: a weight that costs nothing falls for ever; \
                     `Base::learn_weights` has a price, or bound it"
                ));
            }
        }
        Ok(())
    }

    /// What there is to say of the epoch; moves the averages of the scores.
    fn record(&mut self, validated: Validated, data: &DataTimes) -> EpochRecord {
        let Validated { sums: validation, online } = validated;
        let metrics = online.finish(self.task);
        for (output, values) in &metrics {
            let Some(value) = metrics::of_host(values).filter(|value| value.is_finite()) else { continue };
            let ema = self.progress.ema.entry(output.clone()).or_insert(value);
            *ema = (1.0 - EMA_NEWEST) * *ema + EMA_NEWEST * value;
        }
        let score = metrics::score(&metrics, &self.progress.ema);
        let best = score.filter(|score| self.progress.best.is_none_or(|(best, _)| *score > best));
        if let Some(score) = best {
            self.progress.best = Some((score, self.progress.epoch));
        }
        let train = &self.progress.sums;
        EpochRecord {
            epoch: self.progress.epoch,
            epochs: self.task.epochs,
            learning_rate: self.learning_rate(),
            samples: train.samples(),
            train: train.means(),
            cosines: self.progress.cosines.means(),
            train_loss: train.total(),
            gradient_norm: self.progress.gradient_norms / self.task.iterations.saturating_sub(self.progress.skipped) as f64,
            skipped: self.progress.skipped,
            validation: validation.means(),
            validation_loss: validation.total(),
            metrics,
            ema: self.progress.ema.clone(),
            best: best.is_some(),
            seconds: self.progress.seconds,
            data_wait: data.waited,
            data_read: data.read,
            data_decode: data.decode,
            data_augment: data.augment,
            memory: memory::anonymous(),
            allocated: memory::allocated(),
        }
    }

    /// Says so when scores rise no more, and ends the training where that was asked for.
    fn look_at_scores(&mut self) {
        let Some((_, best_epoch)) = self.progress.best else { return };
        let epochs = self.progress.epoch - best_epoch;
        let Upkeep { plateau, early_stop, .. } = self.upkeep;
        if plateau > 0 && plateau == epochs {
            self.log.line(&format!("Plateau: the best epoch was {best_epoch}, {epochs} epochs ago"));
        }
        if early_stop > 0 && epochs >= early_stop {
            self.log.line(&format!("Stopped early: the best epoch was {best_epoch}, {epochs} epochs ago"));
            self.progress.stopped_early = true;
        }
    }

    /// Says it once in a training.
    pub(super) fn warn(&mut self, warning: &str) {
        if !self.progress.warned.iter().any(|earlier| earlier == warning) {
            self.progress.warned.push(warning.to_owned());
            self.log.line(&format!("Warning: {warning}"));
        }
    }

    pub(super) fn checkpoint(&mut self, which: &str) -> Result<(), Error> {
        self.progress.log_lengths = self.log.lengths()?;
        let path = checkpoint_path(&self.folder, which);
        let probe = self.probe()?;
        let state = self.optimiser.state().chain(self.average.iter().flat_map(Average::state));
        save_checkpoint(&path, self.model, state, &self.progress, &self.identity, probe.as_ref())?;
        self.saved = Instant::now();
        Ok(())
    }

    /// What a trainer that is made as prediction makes it makes of made-up maps, with the weights that prediction will use. The first time,
    /// it must say the same as the live one.
    fn probe(&mut self) -> Result<Option<Probe>, Error> {
        self.average.iter().try_for_each(Average::swap)?;
        let probe = self.probe_with_these_weights();
        self.average.iter().try_for_each(Average::swap)?;
        probe
    }

    fn probe_with_these_weights(&mut self) -> Result<Option<Probe>, Error> {
        if self.probed.is_none() && !self.compare_with_a_new_trainer()? {
            return Ok(None);
        }
        let Some(Some(sizes)) = self.probed.clone() else { return Ok(None) };
        match self.model.probe_anew(&sizes, Device::Cpu) {
            Ok(probe) => Ok(Some(probe)),
            // Weights that are out of range are the watchdogs' business.
            Err(error) if error.is_nonfinite() => Ok(None),
            Err(error) => {
                self.warn(&format!("checkpoints hold no probe: {error}"));
                Ok(None)
            }
        }
    }

    /// Compares, and notes with which maps; whether that was possible.
    fn compare_with_a_new_trainer(&mut self) -> Result<bool, Error> {
        let sizes = match self.model.probed_maps() {
            Ok(Some(sizes)) => sizes,
            other => {
                let why = other.err().map_or_else(|| "it accepts no small maps".to_owned(), |error| error.to_string());
                let id = &self.model.trainer.identity().manifest.id;
                self.warn(&format!("plugin {id}: whether prediction will do what was trained is not compared: {why}"));
                self.probed = Some(None);
                return Ok(false);
            }
        };
        let device = self.model.parameters.device();
        let both = self.model.probe(&sizes).and_then(|live| Ok((live, self.model.probe_anew(&sizes, device)?)));
        let (live, anew) = match both {
            // At the next checkpoint.
            Err(error) if error.is_nonfinite() => return Ok(false),
            both => both.map_err(StepError::from)?,
        };
        if let Some(difference) = anew.difference(&live) {
            let Manifest { id, version, .. } = &self.model.trainer.identity().manifest;
            return Err(Error::NotReproduced { plugin: format!("{id} {version}"), difference });
        }
        self.probed = Some(Some(sizes));
        Ok(true)
    }
}
