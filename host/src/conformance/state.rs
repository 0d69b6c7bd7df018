//! What outlives a call: saved state, and memory.

use super::given::Given;
use super::problem::Problem;
use super::rig::{Rig, refused};
use super::targets::samples;
use super::{Finding, Subject, must};
use crate::memory;
use crate::network::{Group, Parameters};
use plugin_api::{Batch, Epoch, Step};
use tch::Device;

/// Trainers before memory is looked at, and then until it is looked at again.
const TRAINERS: [u64; 2] = [30, 100];
/// Steps likewise.
pub(super) const STEPS: [u64; 2] = [60, 200];
/// Growth of each of [`sizes`] in MiB that is no leak: lists and caches that fill, and fragments.
const TOLERATED: [f64; 2] = [0.1, 0.5];

/// When a state is saved.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Between two steps.
    InEpoch,
    /// After `epoch_end`, before the next `epoch_start`.
    BetweenEpochs,
}

/// Saved in the middle, loaded into a new trainer, both go on: through the hooks of epochs, on batches that neither has seen, under the same names of
/// cases.
pub(super) fn round_trip(subject: &Subject) -> Result<(), Finding> {
    for moment in [Moment::InEpoch, Moment::BetweenEpochs] {
        resumed(subject, moment)?;
    }
    Ok(())
}

fn resumed(subject: &Subject, moment: Moment) -> Result<(), Finding> {
    let mut first = subject.usual()?;
    let epoch = first.step(0).epoch;
    first.train(0..2)?;
    let next = Epoch { epoch: epoch + 1, epochs: first.task.epochs };
    if matches!(moment, Moment::InEpoch) {
        first.trainer.epoch_start(&next)?;
        go_on(&mut first, epoch + 1, 2..3)?;
    }
    let state = first.trainer.save_state()?;
    let mut second = subject.usual()?;
    // Parameters and buffers are the host's to restore.
    for ((_, parameter), (_, kept)) in second.parameters.iter().zip(first.parameters.iter()) {
        let _no_grad = tch::no_grad_guard();
        parameter.tensor.shallow_clone().f_copy_(&kept.tensor)?;
    }
    second.trainer.load_state(&state)?;
    let again = second.trainer.save_state()?;
    must!(again == state, "a state of {} bytes is loaded and saved again as another one of {} bytes", state.len(), again.len());
    let buffers = if second.parameters.iter().any(|(_, parameter)| parameter.group == Group::Buffer) { ", buffers" } else { "" };
    let saved = match moment {
        Moment::InEpoch => "inside an epoch",
        Moment::BetweenEpochs => "at the end of an epoch",
    };
    // The first has seen another batch under these names; the second none.
    for rig in [&mut first, &mut second] {
        rig.batch = other_batch(rig);
        // Not told again when a run goes on in the middle of an epoch.
        if matches!(moment, Moment::BetweenEpochs) {
            rig.trainer.epoch_start(&next)?;
        }
    }
    let both = [go_on(&mut first, epoch + 1, 3..5)?, go_on(&mut second, epoch + 1, 3..5)?];
    same(
        &both,
        &format!(
            "with parameters{buffers} and state restored that were saved {saved}, it goes on differently, on a batch that neither has seen"
        ),
    )?;
    for rig in [&mut first, &mut second] {
        let means = both[0][0].terms();
        rig.trainer.epoch_end(&rig.report(epoch + 1, means))?;
        rig.trainer.epoch_start(&Epoch { epoch: epoch + 2, epochs: rig.task.epochs })?;
    }
    same(
        &[go_on(&mut first, epoch + 2, 5..6)?, go_on(&mut second, epoch + 2, 5..6)?],
        &format!("with parameters{buffers} and state restored that were saved {saved}, the next epoch is another one"),
    )
}

/// The samples in another order, under the names of before: other patches of the same cases.
fn other_batch(rig: &Rig) -> Batch {
    let order: Vec<i64> = (0..rig.task.batch_size).rev().collect();
    let turned = samples(&rig.batch, &order);
    Batch { cases: rig.batch.cases.clone(), ..turned }
}

/// What some steps of an epoch give.
fn go_on(rig: &mut Rig, epoch: u64, iterations: std::ops::Range<u64>) -> Result<Vec<Given>, Finding> {
    iterations
        .map(|iteration| {
            let step = Step { epoch, ..rig.step(iteration) };
            Given::at(rig, &step)
        })
        .collect()
}

fn same([first, second]: &[Vec<Given>; 2], what: &str) -> Result<(), Finding> {
    for (a, b) in first.iter().zip(second) {
        if let Some(difference) = a.difference(b)? {
            return Err(Finding::failed(format!(
                "{what}: {difference}; keep what changes in buffers, or in save_state, and nothing by names of cases"
            )));
        }
    }
    Ok(())
}

/// Bytes of something else.
pub(super) fn foreign(subject: &Subject) -> Result<(), Finding> {
    let mut accepted = 0;
    let states: [Vec<u8>; 4] = [vec![0xff; 7], b"not a state".to_vec(), vec![0; 1000], (0..=255).cycle().take(4099).collect()];
    for state in &states {
        let mut rig = subject.usual()?;
        match rig.trainer.load_state(state) {
            Ok(()) => accepted += 1,
            Err(error) => must!(!error.panicked, "load_state of {} bytes: {}; return an error instead", state.len(), error.message),
        }
    }
    match accepted {
        4 => Err(Finding::Warning("any bytes are accepted as a state: a checkpoint of another version would be, too".to_owned())),
        _ => Ok(()),
    }
}

/// Growth of memory over many trainers.
pub(super) fn create_destroy(subject: &Subject) -> Result<(), Finding> {
    let once = || {
        let mut task = Problem::SMALL.task(&subject.targets, subject.seed);
        subject.create(&mut task, &subject.options, &mut Parameters::new(Device::Cpu, subject.seed)).map(drop).map_err(refused)
    };
    grown(TRAINERS, "trainers", once)
}

/// Growth of memory over many steps of one trainer.
pub(super) fn steady_memory(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.small()?;
    let mut iteration = 0;
    grown(STEPS, "steps", || {
        iteration += 1;
        let step = rig.step(iteration);
        if let Some(loss) = crate::train::total(&rig.whole_step(&step)?)? {
            loss.f_backward()?;
        }
        Ok(())
    })
}

/// Runs `once` some times until memory has found its size, then more often, and compares.
pub(super) fn grown([warm_up, counted]: [u64; 2], what: &str, mut once: impl FnMut() -> Result<(), Finding>) -> Result<(), Finding> {
    memory::without_huge_pages();
    let mut growth = |times: u64| -> Result<[f64; 2], Finding> {
        let before = sizes();
        (0..times).try_for_each(|_| once())?;
        let after = sizes();
        Ok([after[0] - before[0], after[1] - before[1]])
    };
    growth(warm_up)?;
    let first = growth(counted)?;
    // The second time is for what would be a leak if it grew as much again.
    if leaked(first, first).is_some()
        && let Some(size) = leaked(first, growth(counted)?)
    {
        return Err(Finding::Leaked(format!("memory grew by {size:.2} MiB over {} {what}", 2 * counted)));
    }
    Ok(())
}

/// Memory of this process in MiB by two measures: what is allocated, to the byte, and its pages, whatever they were mapped by and for.
fn sizes() -> [f64; 2] {
    // SAFETY: gives free memory back; touches nothing else.
    unsafe { libc::malloc_trim(0) };
    [memory::allocated(), memory::anonymous()]
}

/// The growth of both times together by the first measure by which memory leaks: it grew by more than is tolerated, and then about as much again.
fn leaked(first: [f64; 2], second: [f64; 2]) -> Option<f64> {
    (0..2).find(|&i| first[i] > TOLERATED[i] && second[i] > 0.7 * first[i]).map(|i| first[i] + second[i])
}

#[cfg(test)]
mod tests {
    use super::leaked;

    #[test]
    fn a_leak_grows_again_by_one_measure_at_least() {
        assert_eq!(leaked([0.2, 0.3], [0.2, 0.1]), Some(0.4), "a kilobyte a step, by malloc");
        assert_eq!(leaked([0.0, 10.0], [0.0, 9.0]), Some(19.0), "pages that malloc knows nothing of");
        assert_eq!(leaked([0.09, 0.4], [0.09, 0.4]), None, "less than is tolerated");
        assert_eq!(leaked([40.0, 40.0], [2.0, 20.0]), None, "a cache that fills");
        assert_eq!(leaked([-1.0, f64::NAN], [-1.0, f64::NAN]), None, "it shrank, and pages are not told");
    }
}
