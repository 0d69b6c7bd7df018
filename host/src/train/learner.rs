//! One network and what moves it: where it stands, what a step and an epoch make of it, and whether it goes on. It writes nothing: what it says is for
//! the log, and for the [`observers`](super::observers).

use super::metrics::{self, Predicted};
use super::reach::Reach;
use super::shared_layer::{Cosines, SharedLayer};
use super::validation::Validated;
use super::{Average, DataTimes, Error, Optimiser, Progress, StepError, TermSums};
use crate::config::{OnNonfinite, Recipe, Upkeep};
use crate::loading::Share;
use crate::memory;
use crate::model::Model;
use crate::report::{EpochRecord, TermMean};
use indexmap::IndexMap;
use plugin_api::{Epoch, EpochReport, Step, Task};
use tch::Tensor;

/// Weight of the newest epoch in the moving averages.
const EMA_NEWEST: f64 = 0.1;

/// What moves a network, and where its training stands.
#[derive(Debug)]
pub struct State {
    /// The optimiser.
    pub optimiser: Optimiser,
    /// Average of the weights, where there is one.
    pub average: Option<Average>,
    /// Where training stands.
    pub progress: Progress,
}

/// A network in training.
#[derive(Debug)]
pub struct Learner<'a> {
    /// What is trained.
    pub model: &'a mut Model,
    /// What it is told.
    pub task: &'a Task,
    /// Where training stands.
    pub progress: Progress,
    /// How weights are moved.
    pub(super) recipe: Recipe,
    /// Its part of every batch.
    pub(super) share: Share,
    /// Weights of the supervised levels, finest first, of sum 1.
    pub(super) level_weights: Vec<f64>,
    pub(super) optimiser: Optimiser,
    pub(super) average: Option<Average>,
    /// Which terms train the trunk.
    pub(super) reach: Reach,
    /// Where gradients of terms are compared.
    pub(super) shared: SharedLayer,
    /// Steps from one comparison to the next; 0 for none.
    pub(super) conflicts: u64,
    /// What becomes of a step whose numbers ran out of range.
    pub(super) on_nonfinite: OnNonfinite,
    /// Epochs without a better one after which training ends; 0 for none.
    early_stop: u64,
    /// The terms that are given schedules exist.
    pub(super) names_checked: bool,
    warnings: Vec<String>,
}

/// What a step was.
#[derive(Debug)]
pub struct StepReport {
    /// Numbers that ran out of range, so that it was not taken.
    pub failure: Option<Failure>,
}

/// What a validation batch was.
#[derive(Debug)]
pub struct ValidationReport {
    /// Which.
    pub step: Step,
    /// What was predicted for it.
    pub predicted: Option<Predicted>,
    /// As that of a step.
    pub failure: Option<Failure>,
}

/// Numbers that ran out of range.
#[derive(Debug)]
pub struct Failure {
    /// Where.
    pub epoch: u64,
    /// Where.
    pub iteration: u64,
    /// The cases of the batch, or of all batches of the step.
    pub cases: Vec<String>,
    /// Why.
    pub source: StepError,
    /// Whether training ends with it.
    pub ends: bool,
}

impl From<Failure> for Error {
    fn from(Failure { epoch, iteration, cases, source, .. }: Failure) -> Self {
        Self::Step { epoch, iteration, cases: cases.join(", "), source }
    }
}

impl<'a> Learner<'a> {
    /// `model` and what moves it. `level_weights` are those of the supervised levels, finest first.
    pub fn new(
        model: &'a mut Model,
        task: &'a Task,
        (recipe, upkeep): (&Recipe, &Upkeep),
        level_weights: Vec<f64>,
        share: Share,
        state: State,
    ) -> Self {
        let State { optimiser, average, progress } = state;
        Self {
            reach: Reach::default(),
            shared: SharedLayer::new(&model.parameters),
            conflicts: upkeep.conflicts,
            on_nonfinite: upkeep.on_nonfinite,
            early_stop: upkeep.early_stop,
            model,
            task,
            progress,
            recipe: recipe.clone(),
            share,
            level_weights,
            optimiser,
            average,
            names_checked: false,
            warnings: Vec::new(),
        }
    }

    /// Whether there is nothing left to do.
    pub fn is_done(&self) -> bool {
        self.progress.epoch >= self.task.epochs || self.progress.stopped_early
    }

    /// Tells the trainer that an epoch begins.
    pub(super) fn start_epoch(&mut self) -> Result<(), Error> {
        // Not again after an interruption: the plugin's state already knows.
        if !self.progress.epoch_started {
            self.model.trainer.epoch_start(&Epoch { epoch: self.progress.epoch, epochs: self.task.epochs }).map_err(StepError::from)?;
            self.progress.epoch_started = true;
        }
        Ok(())
    }

    pub(super) fn learning_rate(&self) -> f64 {
        self.recipe.schedule.rate(self.recipe.learning_rate, self.progress.epoch, self.task.epochs)
    }

    /// Puts the averages in the weights' place, and back when called again.
    pub(super) fn swap_average(&self) -> Result<(), StepError> {
        self.average.iter().try_for_each(Average::swap)
    }

    /// Notes a warning, which is said once in a training.
    pub(super) fn warn(&mut self, warning: &str) {
        if self.progress.note_warning(warning) {
            self.warnings.push(warning.to_owned());
        }
    }

    /// Warnings since the last call of this.
    pub(super) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Tensors that move the network, for its checkpoint.
    pub(super) fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.optimiser.state().chain(self.average.iter().flat_map(Average::state))
    }

    /// Epochs since the best one.
    pub(super) fn since_best(&self) -> Option<u64> {
        self.progress.best.map(|(_, best)| self.progress.epoch - best)
    }

    /// Tells the trainer what the epoch came to, and decides whether it was the last.
    pub(super) fn end_epoch(&mut self, record: &EpochRecord) -> Result<(), Error> {
        let unweighted = |means: &IndexMap<String, TermMean>| means.iter().map(|(name, mean)| (name.clone(), mean.value)).collect();
        let report = EpochReport {
            epoch: record.epoch,
            train: unweighted(&record.train),
            validation: unweighted(&record.validation),
            metrics: record.metrics.clone(),
        };
        self.model.trainer.epoch_end(&report).map_err(StepError::from)?;
        self.progress.stopped_early |= self.early_stop > 0 && self.since_best().is_some_and(|epochs| epochs >= self.early_stop);
        Ok(())
    }

    /// What there is to say of the epoch; moves the averages of the scores.
    pub(super) fn measure(&mut self, validated: Validated, data: &DataTimes) -> EpochRecord {
        self.progress.weighting.after_epoch(self.recipe.weighting.strategy);
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

    /// Goes on to the next epoch.
    pub(super) fn next_epoch(&mut self) {
        self.progress = Progress {
            epoch: self.progress.epoch + 1,
            iteration: 0,
            seconds: 0.0,
            epoch_started: false,
            sums: TermSums::default(),
            cosines: Cosines::default(),
            gradient_norms: 0.0,
            skipped: 0,
            ..std::mem::take(&mut self.progress)
        };
    }
}
