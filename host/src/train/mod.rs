//! Training: batches in, a trained network and its logs out.
//!
//! [`Training::run`] is the loop, over one [`Arm`] or several that see the same batches. An epoch is `iterations` steps (`step`: forward, the
//! plugin's terms, their weighted sum, backward, clip, `optimiser`, `average`), then validation batches (`validation`) for the online
//! `metrics`, a record, and a checkpoint of its `progress`. `weighting` says how much terms count; `watch` looks after it.
//!
//! Everything random is keyed by (seed, fold, epoch, iteration), so a checkpoint needs no generator's state.

mod arm;
mod average;
mod batch;
mod deep_supervision;
mod error;
mod example;
mod loss_scale;
mod metrics;
mod optimiser;
mod progress;
mod step;
mod terms;
mod validation;
mod watch;
mod weighting;

use crate::artifact::checkpoint_path;
use crate::environment::Stop;
use crate::loading::{self, Loader};
use crate::report::{Bar, format_duration};
use arm::DataTimes;
use imaging::failpoint;
use plugin_api::{Batch, Task};
use std::time::Instant;
use validation::Validated;

pub use arm::Arm;
pub use average::Average;
pub use batch::Loaded;
pub use deep_supervision::deep_supervision_weights;
pub use error::{Error, StepError};
pub use optimiser::Optimiser;
pub use progress::Progress;
pub use terms::{TermSums, total};
pub use validation::EXAMPLES;
pub use watch::Reach;
pub use weighting::SharedLayer;

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

/// Trainings of one fold that see the same batches: usually one, several where losses are compared.
#[derive(Debug)]
pub struct Training<'a> {
    /// What is trained, each by itself.
    pub arms: Vec<Arm<'a>>,
    /// Training batches, positioned where the arm stands that is farthest behind.
    pub train: Loader,
    /// Validation batches.
    pub validation: Loader,
    /// Set by Ctrl-C.
    pub stop: &'a Stop,
}

impl Training<'_> {
    /// Trains all arms to their last epoch, or until `stop`. After a kill one may be ahead of the others: it waits for them.
    pub fn run(mut self) -> Result<End, Error> {
        let mut estimate = Estimate::default();
        while let Some(epoch) = self.arms.iter().filter(|arm| !arm.is_done()).map(|arm| arm.progress.epoch).min() {
            if self.epoch(epoch, &mut estimate)? == End::Interrupted {
                for arm in self.arms.iter_mut().filter(|arm| !arm.is_done()) {
                    arm.checkpoint("latest").map_err(|error| arm.named(error))?;
                    let (epoch, iteration) = (arm.progress.epoch, arm.progress.iteration);
                    arm.log.line(&format!("Stopped in epoch {epoch}, iteration {iteration}. Go on with --resume."));
                }
                return Ok(End::Interrupted);
            }
        }
        for arm in &mut self.arms {
            arm.checkpoint("final").map_err(|error| arm.named(error))?;
            // It would hold the same; nnU-Net removes it, too.
            let _ = std::fs::remove_file(checkpoint_path(&arm.folder, "latest"));
        }
        Ok(End::Finished)
    }

    fn epoch(&mut self, epoch: u64, estimate: &mut Estimate) -> Result<End, Error> {
        let Self { arms, train, validation, stop } = self;
        let mut arms: Vec<&mut Arm> = arms.iter_mut().filter(|arm| !arm.is_done() && arm.progress.epoch == epoch).collect();
        for arm in &mut arms {
            arm.start_epoch().map_err(|error| arm.named(error))?;
        }
        if steps(&mut arms, train, stop, estimate)? == End::Interrupted {
            return Ok(End::Interrupted);
        }
        trim_memory();
        arms.iter().flat_map(|arm| &arm.average).try_for_each(Average::swap)?;
        let validated = validate(&mut arms, validation, stop);
        arms.iter().flat_map(|arm| &arm.average).try_for_each(Average::swap)?;
        let Some(validated) = validated? else { return Ok(End::Interrupted) };
        let data = DataTimes::of([train, validation]);
        for (arm, validated) in arms.into_iter().zip(validated) {
            arm.finish_epoch(validated, &data).map_err(|error| arm.named(error))?;
        }
        Ok(End::Finished)
    }
}

/// The steps of an epoch that are left. Every batch is loaded once, for all arms that have come so far.
fn steps(arms: &mut [&mut Arm], train: &mut Loader, stop: &Stop, estimate: &mut Estimate) -> Result<End, Error> {
    let iterations = arms[0].task.iterations;
    let bar = Bar::new(&format!("epoch {}", arms[0].progress.epoch), iterations);
    let first = arms.iter().map(|arm| arm.progress.iteration).min().unwrap_or(0);
    for iteration in first..iterations {
        failpoint::reached(format_args!("train.step"));
        if stop.is_asked() {
            return Ok(End::Interrupted);
        }
        let start = Instant::now();
        let accumulated = arms[0].identity.recipe.common.accumulate;
        let batches = (0..accumulated).map(|_| next_batch(arms, train, iteration)).collect::<Result<Vec<_>, _>>()?;
        let loading = start.elapsed();
        for arm in arms.iter_mut().filter(|arm| arm.progress.iteration == iteration) {
            let start = Instant::now();
            let batches: Vec<Batch> = batches.iter().map(|batch| batch.of_arm(arm.number)).collect();
            arm.step(&batches).map_err(|error| arm.named(error))?;
            arm.progress.iteration += 1;
            arm.progress.seconds += (loading + start.elapsed()).as_secs_f64();
            arm.save_now_and_then().map_err(|error| arm.named(error))?;
        }
        bar.set(iteration + 1, iterations);
        if let Some(line) = estimate.after_step(arms[0].task, &arms[0].progress, arms[0].identity.validation_iterations) {
            bar.suspend(|| arms.iter_mut().for_each(|arm| arm.log.line(&line)));
        }
    }
    Ok(End::Finished)
}

/// The validation batches of an epoch; `None` when stopped.
fn validate(arms: &mut [&mut Arm], validation: &mut Loader, stop: &Stop) -> Result<Option<Vec<Validated>>, Error> {
    let mut validated: Vec<Validated> = arms.iter().map(|arm| Validated::new(arm)).collect();
    for iteration in 0..arms[0].identity.validation_iterations {
        if stop.is_asked() {
            return Ok(None);
        }
        let start = Instant::now();
        let batch = next_batch(arms, validation, iteration)?;
        let loading = start.elapsed();
        for (arm, validated) in arms.iter_mut().zip(&mut validated) {
            let start = Instant::now();
            arm.validate(&batch.of_arm(arm.number), iteration, validated).map_err(|error| arm.named(error))?;
            arm.progress.seconds += (loading + start.elapsed()).as_secs_f64();
        }
    }
    Ok(Some(validated))
}

/// The next batch of `loader`, which is that of `iteration`, on the device of all arms.
fn next_batch(arms: &[&mut Arm], loader: &mut Loader, iteration: u64) -> Result<Loaded, Error> {
    let arm_of = |error: &loading::Error| match error {
        loading::Error::Transform { number, .. } => arms.iter().find(|arm| arm.number == *number),
        _ => None,
    };
    let batch = loader.next_batch().map_err(|error| match arm_of(&error) {
        Some(arm) => arm.named(error.into()),
        None => error.into(),
    })?;
    let Arm { task, model, progress, .. } = &*arms[0];
    let failed = |source| Error::Step { epoch: progress.epoch, iteration, cases: batch.cases.join(", "), source };
    Loaded::new(batch, task.dims, model.parameters.device()).map_err(|error| failed(error.into()))
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
