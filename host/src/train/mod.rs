//! Training: batches in, a trained network and its logs out.
//!
//! [`Training::run`] is the loop. An epoch is `iterations` steps (`step`: forward, the plugin's terms, their weighted sum, backward, clip,
//! `optimiser`, `average`), then validation batches (`validation`) for the online `metrics`, a `record`, and a `checkpoint`. What a run is
//! made with is its `recipe`; `weighting` says how much terms count; `watch` looks after it. Everything random is keyed by (seed, epoch, iteration), so a checkpoint needs no
//! generator's state.

mod average;
mod batch;
mod checkpoint;
mod example;
mod identity;
mod loss_scale;
mod metrics;
mod optimiser;
mod recipe;
mod record;
mod schedule;
mod step;
mod terms;
mod validation;
mod watch;
mod weighting;

use crate::loading::{self, Loader};
use crate::network::{self, Model};
use crate::report::{Bar, LogError, RunLog, format_duration, progress};
use plugin_api::{Epoch, EpochReport, Task};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use weighting::Cosines;

pub use average::Average;
pub use batch::to_tensors;
pub use checkpoint::{
    Error as CheckpointError, Keeping, Progress, load as load_checkpoint, load_weights, newest as newest_checkpoint,
    path as checkpoint_path,
};
pub use identity::{Identity, Machine};
pub use optimiser::Optimiser;
pub use recipe::{OptimiserName, Recipe};
pub use record::EpochRecord;
pub use schedule::{Schedule, deep_supervision_weights};
pub use terms::{TermMean, TermSums, total};
pub use watch::{OnNonfinite, Reach, Watchdogs};
pub use weighting::{SharedLayer, Strategy, Weighting, WeightingArg};

/// Weight of the newest epoch in the moving averages.
const EMA_NEWEST: f64 = 0.1;
/// After so many iterations their mean time says when training will end.
const ITERATIONS_TO_ESTIMATE: u64 = 20;

/// Training cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A loader worker failed.
    #[error(transparent)]
    Loading(#[from] loading::Error),
    /// libtorch or the plugin failed.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The logs cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A step failed.
    #[error("{source} (epoch {epoch}, iteration {iteration}, cases {cases}); checkpoints from before are kept")]
    Step {
        /// Where.
        epoch: u64,
        /// Where.
        iteration: u64,
        /// The batch's cases.
        cases: String,
        /// Why.
        source: network::Error,
    },
}

impl From<crate::plugin::CallError> for Error {
    fn from(error: crate::plugin::CallError) -> Self {
        Self::Network(error.into())
    }
}

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All epochs are done; the final checkpoint is written.
    Finished,
    /// The user stopped it; a checkpoint is written.
    Interrupted,
}

/// One training of one fold.
#[derive(Debug)]
pub struct Training<'a> {
    /// What is trained.
    pub model: &'a mut Model,
    /// What it is told.
    pub task: &'a Task,
    /// Training batches, positioned at `progress`.
    pub train: Loader,
    /// Validation batches.
    pub validation: Loader,
    /// Weights of the supervised levels, finest first, of sum 1.
    pub level_weights: Vec<f64>,
    /// Where the fold's files go.
    pub folder: PathBuf,
    /// What its checkpoints belong to.
    pub identity: Identity,
    /// Which checkpoints there are.
    pub keeping: Keeping,
    /// What looks after it.
    pub watchdogs: Watchdogs,
    /// Epochs from one example picture to the next.
    pub examples: Option<u64>,
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
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
    /// Steps from one comparison to the next, where they are logged.
    pub conflicts: Option<u64>,
    /// When the last checkpoint was written.
    pub saved: Instant,
}

impl Training<'_> {
    /// Trains from `progress` to the last epoch, or until `stop`.
    pub fn run(mut self) -> Result<End, Error> {
        let mut estimate = Estimate::default();
        while self.progress.epoch < self.task.epochs && !self.progress.stopped_early {
            if self.epoch(&mut estimate)? == End::Interrupted {
                self.checkpoint("latest")?;
                let (epoch, iteration) = (self.progress.epoch, self.progress.iteration);
                self.log.line(&format!("Stopped in epoch {epoch}, iteration {iteration}. Go on with --resume."));
                return Ok(End::Interrupted);
            }
        }
        self.checkpoint("final")?;
        // It would hold the same; nnU-Net removes it, too.
        let _ = std::fs::remove_file(checkpoint::path(&self.folder, "latest"));
        Ok(End::Finished)
    }

    fn epoch(&mut self, estimate: &mut Estimate) -> Result<End, Error> {
        let (epoch, epochs) = (self.progress.epoch, self.task.epochs);
        let recipe = &self.identity.recipe;
        let learning_rate = recipe.schedule.rate(recipe.learning_rate, epoch, epochs);
        let mut start = Instant::now();
        // Not again after an interruption: the plugin's state already knows.
        if !self.progress.epoch_started {
            self.model.trainer.epoch_start(&Epoch { epoch, epochs })?;
            self.progress.epoch_started = true;
        }

        let bar = Bar::new(&format!("epoch {epoch}"), self.task.iterations);
        while self.progress.iteration < self.task.iterations {
            if self.stopped() {
                self.progress.seconds += start.elapsed().as_secs_f64();
                return Ok(End::Interrupted);
            }
            self.step(learning_rate)?;
            self.progress.iteration += 1;
            bar.set(self.progress.iteration, self.task.iterations);
            if let Some(line) = estimate.after_step(self.task, &self.progress, self.identity.validation_iterations) {
                bar.suspend(|| self.log.line(&line));
            }
            if self.keeping.interval.is_some_and(|interval| self.saved.elapsed() >= interval) {
                self.progress.seconds += start.elapsed().as_secs_f64();
                start = Instant::now();
                self.checkpoint("latest")?;
            }
        }
        drop(bar);
        trim_memory();
        self.swap_average()?;
        let validated = self.validate();
        self.swap_average()?;
        self.progress.seconds += start.elapsed().as_secs_f64();
        let Some((validation, metrics)) = validated? else {
            return Ok(End::Interrupted);
        };
        self.finish_epoch(learning_rate, &validation, metrics)?;
        Ok(End::Finished)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn swap_average(&self) -> Result<(), Error> {
        Ok(self.average.iter().try_for_each(Average::swap)?)
    }

    /// Record, report to the plugin, checkpoints.
    fn finish_epoch(&mut self, learning_rate: f64, validation: &TermSums, online: metrics::Online) -> Result<(), Error> {
        let epoch = self.progress.epoch;
        self.progress.weighting.after_epoch(&self.identity.recipe.weighting);
        let record = self.record(learning_rate, validation, online);
        if let Err(error) = self.identity.recipe.weighting.check_names(record.train.keys().map(String::as_str)) {
            self.warn(&error.to_string());
        }
        record.lines().iter().for_each(|line| self.log.line(line));
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
        self.model.trainer.epoch_end(&report)?;
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
        if self.progress.epoch.is_multiple_of(self.keeping.every) {
            self.checkpoint("latest")?;
            self.keeping.keep(&self.folder, self.progress.epoch);
        }
        Ok(())
    }

    /// What there is to say of the epoch; moves the averages of the scores.
    fn record(&mut self, learning_rate: f64, validation: &TermSums, online: metrics::Online) -> EpochRecord {
        let metrics = online.finish(self.task);
        for (output, values) in &metrics {
            let Some(value) = values.values().next().copied().filter(|value| value.is_finite()) else { continue };
            let ema = self.progress.ema.entry(output.clone()).or_insert(value);
            *ema = (1.0 - EMA_NEWEST) * *ema + EMA_NEWEST * value;
        }
        let score = metrics::score(&metrics, &self.progress.ema);
        let best = score.filter(|score| self.progress.best.is_none_or(|(best, _)| *score > best));
        if let Some(score) = best {
            self.progress.best = Some((score, self.progress.epoch));
        }
        let train = &self.progress.sums;
        let (waited, times) = self.train.take_times();
        let (waited_to_validate, times_to_validate) = self.validation.take_times();
        EpochRecord {
            epoch: self.progress.epoch,
            epochs: self.task.epochs,
            learning_rate,
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
            data_wait: (waited + waited_to_validate).as_secs_f64(),
            data_read: (times.read + times_to_validate.read).as_secs_f64(),
            data_decode: (times.decode + times_to_validate.decode).as_secs_f64(),
            data_augment: (times.augment + times_to_validate.augment).as_secs_f64(),
            memory: resident_memory(),
        }
    }

    /// Says so when scores rise no more, and ends the training where that was asked for.
    fn look_at_scores(&mut self) {
        let Some((_, best_epoch)) = self.progress.best else { return };
        let epochs = self.progress.epoch - best_epoch;
        if self.watchdogs.plateau == Some(epochs) {
            self.log.line(&format!("Plateau: the best epoch was {best_epoch}, {epochs} epochs ago"));
        }
        if self.watchdogs.early_stop.is_some_and(|patience| epochs >= patience) {
            self.log.line(&format!("Stopped early: the best epoch was {best_epoch}, {epochs} epochs ago"));
            self.progress.stopped_early = true;
        }
    }

    /// Says it once in a training.
    fn warn(&mut self, warning: &str) {
        if !self.progress.warned.iter().any(|earlier| earlier == warning) {
            self.progress.warned.push(warning.to_owned());
            self.log.line(&format!("Warning: {warning}"));
        }
    }

    fn checkpoint(&mut self, which: &str) -> Result<(), Error> {
        self.progress.log_lengths = self.log.lengths()?;
        let path = checkpoint::path(&self.folder, which);
        let state = self.optimiser.state().chain(self.average.iter().flat_map(Average::state));
        checkpoint::save(&path, self.model, state, &self.progress, &self.identity)?;
        self.saved = Instant::now();
        Ok(())
    }
}

/// Gives memory that is free back to the system: what every epoch leaves between longer-lived pieces would add up.
fn trim_memory() {
    // SAFETY: glibc's own, at any time, on any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Resident memory of this process in MiB, without what is only a view of files, such as the store's; NaN where it is not told.
fn resident_memory() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = |i: usize| statm.split(' ').nth(i).and_then(|number| number.parse::<f64>().ok()).unwrap_or(f64::NAN);
    // SAFETY: a question without preconditions.
    (pages(1) - pages(2)) * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as f64 / f64::from(1 << 20)
}

/// When training will end, from the time of its first iterations.
#[derive(Debug)]
struct Estimate {
    start: Instant,
    steps: u64,
}

impl Default for Estimate {
    fn default() -> Self {
        Self { start: Instant::now(), steps: 0 }
    }
}

impl Estimate {
    /// The line to print, once.
    fn after_step(&mut self, task: &Task, progress: &Progress, validation_iterations: u64) -> Option<String> {
        // The first step is left out: it pays for allocations and for the primitives that libtorch compiles.
        if self.steps == 0 {
            self.start = Instant::now();
        }
        self.steps += 1;
        if self.steps != ITERATIONS_TO_ESTIMATE {
            return None;
        }
        let each = self.start.elapsed().as_secs_f64() / (self.steps - 1) as f64;
        let left = (task.epochs - progress.epoch) * task.iterations - progress.iteration;
        // A validation step has no backward pass, about two thirds of the work.
        let validation = (task.epochs - progress.epoch) * validation_iterations;
        let seconds = each * (left as f64 + validation as f64 / 3.0);
        Some(format!("{each:.2} s an iteration; training will take about {} more", format_duration(seconds)))
    }
}
