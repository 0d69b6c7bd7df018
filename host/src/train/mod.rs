//! Training: batches in, a trained network and its logs out.
//!
//! [`Training::run`] is the loop. An epoch is `iterations` steps (`Training::step`: forward, the plugin's terms, their weighted
//! sum, backward, clip, SGD), then validation batches for the online metrics, a record, and a checkpoint. Everything random is
//! keyed by (seed, epoch, iteration), so a checkpoint needs no generator's state.

mod batch;
mod checkpoint;
mod metrics;
mod optimiser;
mod record;
mod schedule;
mod terms;

use crate::loading::{self, Loader};
use crate::network::{self, Model};
use crate::report::{Bar, LogError, RunLog, format_duration};
use crate::shim::mix;
use plugin_api::{Batch, Epoch, EpochReport, Phase, Step, Task};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub use batch::to_tensors;
pub use checkpoint::{Error as CheckpointError, Identity, Progress, load as load_checkpoint, load_weights};
pub use optimiser::{Sgd, clear_gradients, clip_gradients};
pub use record::EpochRecord;
pub use schedule::{deep_supervision_weights, poly};
pub use terms::{TermMean, TermSums, total};

/// nnU-Net's initial learning rate.
const LEARNING_RATE: f64 = 0.01;
/// nnU-Net's momentum.
const MOMENTUM: f64 = 0.99;
/// nnU-Net's weight decay.
const WEIGHT_DECAY: f64 = 3e-5;
/// nnU-Net's bound on the norm of all gradients.
const CLIP_NORM: f64 = 12.0;
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
    /// Validation iterations an epoch.
    pub validation_iterations: u64,
    /// Where the fold's files go.
    pub folder: PathBuf,
    /// What its checkpoints belong to.
    pub identity: Identity,
    /// Set by Ctrl-C.
    pub stop: &'a AtomicBool,
    /// The optimiser.
    pub optimiser: Sgd,
    /// Where training stands.
    pub progress: Progress,
    /// Its logs.
    pub log: RunLog,
}

impl Sgd {
    /// nnU-Net's optimiser for `model`.
    pub fn standard(model: &Model) -> Self {
        Self::new(&model.parameters, MOMENTUM, WEIGHT_DECAY)
    }
}

impl Training<'_> {
    /// Trains from `progress` to the last epoch, or until `stop`.
    pub fn run(mut self) -> Result<End, Error> {
        let mut estimate = Estimate::default();
        while self.progress.epoch < self.task.epochs {
            if self.epoch(&mut estimate)? == End::Interrupted {
                self.checkpoint("latest")?;
                let (epoch, iteration) = (self.progress.epoch, self.progress.iteration);
                self.log.line(&format!("Stopped in epoch {epoch}, iteration {iteration}. Go on with --resume."));
                return Ok(End::Interrupted);
            }
        }
        self.checkpoint("final")?;
        Ok(End::Finished)
    }

    fn epoch(&mut self, estimate: &mut Estimate) -> Result<End, Error> {
        let (epoch, epochs) = (self.progress.epoch, self.task.epochs);
        let learning_rate = poly(LEARNING_RATE, epoch, epochs);
        let start = Instant::now();
        // Not again after an interruption: the plugin's state already knows.
        if !self.progress.epoch_started {
            self.model.trainer.epoch_start(&Epoch { epoch, epochs })?;
            self.progress.epoch_started = true;
        }

        let bar = Bar::new(&format!("epoch {epoch}"), self.task.iterations);
        while self.progress.iteration < self.task.iterations {
            if self.stop.load(Ordering::Relaxed) {
                self.progress.seconds += start.elapsed().as_secs_f64();
                return Ok(End::Interrupted);
            }
            self.step(learning_rate)?;
            self.progress.iteration += 1;
            bar.set(self.progress.iteration, self.task.iterations);
            if let Some(line) = estimate.after_step(self.task, &self.progress, self.validation_iterations) {
                bar.suspend(|| self.log.line(&line));
            }
        }
        drop(bar);
        let Some((validation, metrics)) = self.validate()? else {
            self.progress.seconds += start.elapsed().as_secs_f64();
            return Ok(End::Interrupted);
        };
        self.finish_epoch(learning_rate, validation, metrics, self.progress.seconds + start.elapsed().as_secs_f64())?;
        Ok(End::Finished)
    }

    /// One optimiser step.
    fn step(&mut self, learning_rate: f64) -> Result<(), Error> {
        let step = self.step_info(Phase::Train, self.progress.iteration);
        let batch = to_tensors(self.train.next_batch()?, self.task.dims, self.model.parameters.device())?;
        self.train_on(&batch, &step, learning_rate).map_err(|source| failed(&step, &batch, source))
    }

    fn train_on(&mut self, batch: &Batch, step: &Step, learning_rate: f64) -> Result<(), network::Error> {
        clear_gradients(&self.model.parameters)?;
        let outputs = self.model.forward(&batch.image, supervised_levels(step), true, step.seed)?;
        let terms = self.model.trainer.loss(&outputs, batch, step)?;
        if let Some(loss) = total(&terms)? {
            loss.f_backward()?;
            let norm = clip_gradients(&self.model.parameters, CLIP_NORM)?;
            if !norm.is_finite() {
                return Err(network::Error::Gradients(norm));
            }
            self.optimiser.step(&self.model.parameters, learning_rate)?;
        }
        self.progress.sums.add(&terms)
    }

    /// Validation batches: terms and online metrics. `None` when stopped.
    fn validate(&mut self) -> Result<Option<(TermSums, metrics::Online)>, Error> {
        let _no_grad = tch::no_grad_guard();
        let mut sums = TermSums::default();
        let mut online = metrics::Online::new(self.model.trainer.outputs());
        for iteration in 0..self.validation_iterations {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let step = self.step_info(Phase::Validate, iteration);
            let batch = to_tensors(self.validation.next_batch()?, self.task.dims, self.model.parameters.device())?;
            self.validate_on(&batch, &step, &mut sums, &mut online).map_err(|source| failed(&step, &batch, source))?;
        }
        Ok(Some((sums, online)))
    }

    fn validate_on(&mut self, batch: &Batch, step: &Step, sums: &mut TermSums, online: &mut metrics::Online) -> Result<(), network::Error> {
        let outputs = self.model.forward(&batch.image, supervised_levels(step), false, step.seed)?;
        sums.add(&self.model.trainer.loss(&outputs, batch, step)?)?;
        online.add(&outputs, batch, self.task)
    }

    fn step_info(&self, phase: Phase, iteration: u64) -> Step {
        let epoch = self.progress.epoch;
        Step {
            epoch,
            iteration,
            micro_step: 0,
            seed: mix(&[self.task.seed, epoch, iteration, phase as u64]),
            phase,
            deep_supervision_weights: deep_supervision_weights(self.task.levels()),
        }
    }

    /// Record, report to the plugin, checkpoints.
    fn finish_epoch(&mut self, learning_rate: f64, validation: TermSums, online: metrics::Online, seconds: f64) -> Result<(), Error> {
        let epoch = self.progress.epoch;
        let metrics = online.finish(self.task);
        for (output, values) in &metrics {
            let Some(value) = values.values().next().copied().filter(|value| value.is_finite()) else { continue };
            let ema = self.progress.ema.entry(output.clone()).or_insert(value);
            *ema = (1.0 - EMA_NEWEST) * *ema + EMA_NEWEST * value;
        }
        let train = std::mem::take(&mut self.progress.sums);
        let (waited, times) = self.train.take_times();
        let (waited_to_validate, times_to_validate) = self.validation.take_times();
        let record = EpochRecord {
            epoch,
            learning_rate,
            train: train.means(),
            train_loss: train.total(),
            validation: validation.means(),
            validation_loss: validation.total(),
            ema: self.progress.ema.clone(),
            seconds,
            data_wait: (waited + waited_to_validate).as_secs_f64(),
            data_read: (times.read + times_to_validate.read).as_secs_f64(),
            data_decode: (times.decode + times_to_validate.decode).as_secs_f64(),
            data_augment: (times.augment + times_to_validate.augment).as_secs_f64(),
            metrics,
        };
        self.log_epoch(&record);
        let unweighted =
            |means: &indexmap::IndexMap<String, TermMean>| means.iter().map(|(name, mean)| (name.clone(), mean.value)).collect();
        let report = EpochReport {
            epoch,
            train: unweighted(&record.train),
            validation: unweighted(&record.validation),
            metrics: record.metrics.clone(),
        };
        self.model.trainer.epoch_end(&report)?;
        self.log.record(&record)?;

        self.progress = Progress { epoch: epoch + 1, iteration: 0, seconds: 0.0, epoch_started: false, ..self.progress.clone() };
        let score = metrics::score(&record.metrics, &self.progress.ema);
        if score.is_some_and(|score| self.progress.best.is_none_or(|best| score > best)) {
            self.progress.best = score;
            self.checkpoint("best")?;
        }
        self.checkpoint("latest")
    }

    fn log_epoch(&mut self, record: &EpochRecord) {
        let (epoch, epochs) = (record.epoch, self.task.epochs);
        let seconds = format_duration(record.seconds);
        let EpochRecord { learning_rate, data_wait, data_read, data_decode, data_augment, .. } = record;
        self.log.line(&format!(
            "Epoch {epoch} of {epochs}: learning rate {learning_rate:.5}, {seconds}, waited {data_wait:.1} s for data \
             (workers: {data_read:.1} s reading, {data_decode:.1} s decompressing, {data_augment:.1} s augmenting)"
        ));
        let (train, validation) = (record.train_loss, record.validation_loss);
        self.log.line(&format!("  loss            train {train:8.4}   validation {validation:8.4}"));
        for (name, mean) in &record.train {
            let validation = record.validation.get(name).map_or(f64::NAN, |mean| mean.value);
            let weighted = mean.weighted;
            self.log.line(&format!("  {name:<15} train {:8.4}   validation {validation:8.4}   weighted {weighted:8.4}", mean.value));
        }
        for (output, values) in &record.metrics {
            let values: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
            let ema = record.ema.get(output).map_or_else(String::new, |ema| format!("   moving average {ema:.4}"));
            self.log.line(&format!("  {output:<15} {}{ema}", values.join("  ")));
        }
    }

    fn checkpoint(&mut self, which: &str) -> Result<(), Error> {
        self.progress.log_lengths = self.log.lengths()?;
        let path = self.folder.join(format!("checkpoint_{which}.safetensors"));
        Ok(checkpoint::save(&path, self.model, self.optimiser.state(), &self.progress, &self.identity)?)
    }
}

/// Levels that deep supervision gives a weight: the heads of the others need not be computed.
fn supervised_levels(step: &Step) -> usize {
    step.deep_supervision_weights.iter().filter(|weight| **weight != 0.0).count()
}

fn failed(step: &Step, batch: &Batch, source: network::Error) -> Error {
    Error::Step { epoch: step.epoch, iteration: step.iteration, cases: batch.cases.join(", "), source }
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
