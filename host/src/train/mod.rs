//! Training: batches in, a trained network and its logs out.
//!
//! [`Training::run`] is the loop, over one [`Arm`] or several that see the same batches. An arm is a [`Learner`], which is a network and what moves it, and
//! its [`observers`], which write its files: records, pictures, checkpoints, what watchdogs find.
//!
//! ```text
//! loader ─ `made`: targets of plugins ─ batch ─┬ learner.step ─ report ─ observers          iterations times an epoch
//!                                              ├ learner.validate ─ report ─ observers      validation iterations
//!                                              └ learner.measure ─ record ─ observers       once, then the trainer is told and they are again
//! ```
//! A step is forward, the plugin's terms, their weighted sum, backward, clip, `optimiser`, `average` (`step`); `weighting` says how much terms count;
//! `validation` adds up the online `metrics`. Where a training stands is its `progress`, which checkpoints hold.
//!
//! Everything random is keyed by (seed, fold, epoch, iteration), so a checkpoint needs no generator's state.

mod average;
mod batch;
mod deep_supervision;
mod error;
mod example;
mod kept_buffers;
mod learner;
mod loss_scale;
mod made;
mod metrics;
mod observers;
mod optimiser;
mod progress;
mod reach;
mod shared_layer;
mod step;
mod terms;
mod validation;
mod weighting;

use crate::environment::Stop;
use crate::loading::{self, Loader};
use crate::report::{Bar, RunLog, format_duration};
use imaging::failpoint;
use plugin_api::{Batch, Task};
use std::time::Instant;
use validation::Validated;

pub use average::Average;
pub use batch::to_device;
pub use deep_supervision::deep_supervision_weights;
pub use error::{Error, StepError};
pub use learner::{Failure, Learner, State, StepReport, ValidationReport};
pub use made::Makers;
pub use observers::{EXAMPLES, Observed, Observer, observers};
pub use optimiser::Optimiser;
pub use progress::Progress;
pub use terms::{TermSums, total};

/// After so many iterations their mean time says when training will end.
const ITERATIONS_TO_ESTIMATE: u64 = 20;

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All epochs are done; the final checkpoint is written.
    Finished,
    /// The user stopped it; a checkpoint is written.
    Interrupted,
}

/// One of the networks that are trained on the same batches.
#[derive(Debug)]
pub struct Arm<'a> {
    /// Its name; empty where it is the only one.
    pub name: String,
    /// What is trained.
    pub learner: Learner<'a>,
    /// Its log.
    pub log: RunLog,
    /// What looks at it.
    pub observers: Vec<Box<dyn Observer>>,
}

impl<'a> Arm<'a> {
    /// `error`, with this arm's name where there are others.
    fn named(&self, error: Error) -> Error {
        if self.name.is_empty() { error } else { Error::Arm { name: self.name.clone(), source: Box::new(error) } }
    }

    /// Does `work` with its learner, whose warnings go to the log; if it fails, they may say why.
    fn learn<T, E: Into<Error>>(&mut self, work: impl FnOnce(&mut Learner<'a>) -> Result<T, E>) -> Result<T, Error> {
        let worked = work(&mut self.learner);
        self.learner.take_warnings().iter().for_each(|warning| self.log.line(&format!("Warning: {warning}")));
        worked.map_err(|error| self.named(error.into()))
    }

    /// Tells every observer.
    fn tell(&mut self, mut event: impl FnMut(&mut dyn Observer, &mut Observed<'_, 'a>) -> Result<(), Error>) -> Result<(), Error> {
        let Self { learner, log, observers, .. } = self;
        let told = observers.iter_mut().try_for_each(|observer| event(&mut **observer, &mut Observed { learner, log }));
        told.map_err(|error| self.named(error))
    }

    fn step(&mut self, batches: &[Batch], loading: f64) -> Result<(), Error> {
        let start = Instant::now();
        let report = self.learn(|learner| learner.step(batches))?;
        self.learner.progress.seconds += loading + start.elapsed().as_secs_f64();
        self.tell(|observer, seen| observer.step(seen, batches, &report))?;
        self.go_on_after(report.failure)
    }

    fn validate(&mut self, batch: &Batch, iteration: u64, validated: &mut Validated, loading: f64) -> Result<(), Error> {
        let start = Instant::now();
        let report = self.learn(|learner| learner.validate(batch, iteration, validated))?;
        self.tell(|observer, seen| observer.validated(seen, batch, &report))?;
        self.learner.progress.seconds += loading + start.elapsed().as_secs_f64();
        self.go_on_after(report.failure)
    }

    fn go_on_after(&self, failure: Option<Failure>) -> Result<(), Error> {
        failure.filter(|failure| failure.ends).map_or(Ok(()), |failure| Err(self.named(failure.into())))
    }

    fn finish_epoch(&mut self, validated: Validated, data: &DataTimes) -> Result<(), Error> {
        self.tell(|observer, seen| observer.trained(seen))?;
        let record = self.learner.measure(validated, data);
        self.tell(|observer, seen| observer.measured(seen, &record))?;
        self.learn(|learner| learner.end_epoch(&record))?;
        self.tell(|observer, seen| observer.ended(seen, &record))?;
        self.learner.next_epoch();
        self.tell(|observer, seen| observer.advanced(seen, record.best))
    }
}

/// What the loaders did in an epoch, in seconds.
struct DataTimes {
    waited: f64,
    read: f64,
    decode: f64,
    augment: f64,
}

impl DataTimes {
    fn of(loaders: [&mut Loader<Makers>; 2]) -> Self {
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

/// Trainings of one fold that see the same batches: usually one, several where losses are compared.
#[derive(Debug)]
pub struct Training<'a> {
    /// What is trained, each by itself.
    pub arms: Vec<Arm<'a>>,
    /// Training batches, positioned where the arm stands that is farthest behind, with what the plugins of all arms make of them, in their order.
    pub train: Loader<Makers>,
    /// Validation batches.
    pub validation: Loader<Makers>,
    /// Of them, so many an epoch.
    pub validation_iterations: u64,
    /// Set by Ctrl-C.
    pub stop: &'a Stop,
}

/// An arm and its place among all.
type Placed<'t, 'a> = (usize, &'t mut Arm<'a>);

impl Training<'_> {
    /// Trains all arms to their last epoch, or until `stop`. After a kill one may be ahead of the others: it waits for them.
    pub fn run(mut self) -> Result<End, Error> {
        let mut estimate = Estimate::default();
        let going = |arm: &&Arm| !arm.learner.is_done();
        while let Some(epoch) = self.arms.iter().filter(going).map(|arm| arm.learner.progress.epoch).min() {
            if self.epoch(epoch, &mut estimate)? == End::Interrupted {
                let going = self.arms.iter_mut().filter(|arm| !arm.learner.is_done());
                for arm in going {
                    arm.tell(|observer, seen| observer.interrupted(seen))?;
                }
                return Ok(End::Interrupted);
            }
        }
        for arm in &mut self.arms {
            arm.tell(|observer, seen| observer.finished(seen))?;
        }
        Ok(End::Finished)
    }

    fn epoch(&mut self, epoch: u64, estimate: &mut Estimate) -> Result<End, Error> {
        let Self { arms, train, validation, validation_iterations, stop } = self;
        let arms = arms.iter_mut().enumerate();
        let mut arms: Vec<Placed> = arms.filter(|(_, arm)| !arm.learner.is_done() && arm.learner.progress.epoch == epoch).collect();
        arms.iter_mut().try_for_each(|(_, arm)| arm.learn(Learner::start_epoch))?;
        if steps(&mut arms, train, *validation_iterations, stop, estimate)? == End::Interrupted {
            return Ok(End::Interrupted);
        }
        trim_memory();
        arms.iter().try_for_each(|(_, arm)| arm.learner.swap_average())?;
        let validated = validate(&mut arms, validation, *validation_iterations, stop);
        arms.iter().try_for_each(|(_, arm)| arm.learner.swap_average())?;
        let Some(validated) = validated? else { return Ok(End::Interrupted) };
        let data = DataTimes::of([train, validation]);
        arms.into_iter().zip(validated).try_for_each(|((_, arm), validated)| arm.finish_epoch(validated, &data))?;
        Ok(End::Finished)
    }
}

/// The steps of an epoch that are left. Every batch is loaded once, for all arms that have come so far.
fn steps(
    arms: &mut [Placed],
    train: &mut Loader<Makers>,
    validation_iterations: u64,
    stop: &Stop,
    estimate: &mut Estimate,
) -> Result<End, Error> {
    let first = &arms[0].1.learner;
    let (iterations, accumulated) = (first.task.iterations, first.recipe.common.accumulate);
    let bar = Bar::new(&format!("epoch {}", first.progress.epoch), iterations);
    let first = arms.iter().map(|(_, arm)| arm.learner.progress.iteration).min().unwrap_or(0);
    for iteration in first..iterations {
        failpoint::reached(format_args!("train.step"));
        if stop.is_asked() {
            return Ok(End::Interrupted);
        }
        let start = Instant::now();
        let mut batches = (0..accumulated).map(|_| next_batch(arms, train, iteration)).collect::<Result<Vec<_>, _>>()?;
        let loading = start.elapsed().as_secs_f64();
        for (place, arm) in arms.iter_mut().filter(|(_, arm)| arm.learner.progress.iteration == iteration) {
            let batches: Vec<Batch> = batches.iter_mut().filter_map(|batch| batch[*place].take()).collect();
            arm.step(&batches, loading)?;
        }
        bar.set(iteration + 1, iterations);
        let Arm { learner, .. } = &*arms[0].1;
        if let Some(line) = estimate.after_step(learner.task, &learner.progress, validation_iterations) {
            bar.suspend(|| arms.iter_mut().for_each(|(_, arm)| arm.log.line(&line)));
        }
    }
    Ok(End::Finished)
}

/// The validation batches of an epoch; `None` when stopped.
fn validate(arms: &mut [Placed], validation: &mut Loader<Makers>, iterations: u64, stop: &Stop) -> Result<Option<Vec<Validated>>, Error> {
    let mut validated: Vec<Validated> = arms.iter().map(|(_, arm)| Validated::new(&arm.learner)).collect();
    for iteration in 0..iterations {
        if stop.is_asked() {
            return Ok(None);
        }
        let start = Instant::now();
        let mut batch = next_batch(arms, validation, iteration)?;
        let loading = start.elapsed().as_secs_f64();
        for ((place, arm), validated) in arms.iter_mut().zip(&mut validated) {
            if let Some(batch) = batch[*place].take() {
                arm.validate(&batch, iteration, validated, loading)?;
            }
        }
    }
    Ok(Some(validated))
}

/// The next batch of `loader`, which is that of `iteration`, on the device of all arms: one for each of them, by its place.
fn next_batch(arms: &[Placed], loader: &mut Loader<Makers>, iteration: u64) -> Result<Vec<Option<Batch>>, Error> {
    let arm_of = |error: &loading::Error| match error {
        loading::Error::Stage { part, .. } => arms.iter().find(|(place, _)| place == part),
        _ => None,
    };
    let (batch, made) = loader.next_with_stage().map_err(|error| match arm_of(&error) {
        Some((_, arm)) => arm.named(error.into()),
        None => error.into(),
    })?;
    let Learner { task, model, progress, .. } = &arms[0].1.learner;
    let failed = |source| Error::Step { epoch: progress.epoch, iteration, cases: batch.cases.join(", "), source };
    let batches = to_device(batch, made, task.dims, model.parameters.device()).map_err(|error| failed(error.into()))?;
    Ok(batches.into_iter().map(Some).collect())
}

/// Gives memory that is free back to the system: what every epoch leaves between longer-lived pieces would add up.
fn trim_memory() {
    // SAFETY: glibc's own, at any time, on any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
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
