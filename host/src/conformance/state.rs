//! What outlives a call: saved state, and memory.

use super::numbers::close;
use super::problem::Problem;
use super::rig::{Rig, refused};
use super::{Finding, Subject, must};
use crate::memory;
use crate::network::{Group, Parameters};
use plugin_api::Weight;
use tch::{Device, Tensor};

/// Trainers before memory is looked at, and then until it is looked at again.
const TRAINERS: [u64; 2] = [30, 100];
/// Steps likewise.
pub(super) const STEPS: [u64; 2] = [60, 200];
/// Growth of each of [`sizes`] in MiB that is no leak: lists and caches that fill, and fragments.
const TOLERATED: [f64; 2] = [0.1, 0.5];

/// Terms of some steps, weights included.
fn go_on(rig: &mut Rig, iterations: std::ops::Range<u64>) -> Result<Vec<(String, f64, f64)>, Finding> {
    let mut seen = Vec::new();
    for iteration in iterations {
        let step = rig.step(iteration);
        for term in rig.whole_step(&step)? {
            let weight = match &term.weight {
                Weight::Number(weight) => *weight,
                Weight::Learned(weight) => f64::try_from(weight)?,
            };
            seen.push((term.name, f64::try_from(&term.value)?, weight));
        }
    }
    Ok(seen)
}

/// Saved in the middle, loaded into a new trainer, both go on.
pub(super) fn round_trip(subject: &Subject) -> Result<(), Finding> {
    let mut first = subject.usual()?;
    go_on(&mut first, 0..3)?;
    let state = first.trainer.save_state()?;
    let kept: Vec<Tensor> = first.parameters.iter().map(|(_, parameter)| parameter.tensor.detach().copy()).collect();
    let expected = go_on(&mut first, 3..6)?;
    drop(first);
    let mut second = subject.usual()?;
    // Parameters and buffers are the host's to restore.
    for ((_, parameter), kept) in second.parameters.iter().zip(&kept) {
        let _no_grad = tch::no_grad_guard();
        parameter.tensor.shallow_clone().f_copy_(kept)?;
    }
    second.trainer.load_state(&state)?;
    let again = second.trainer.save_state()?;
    must!(again == state, "a state of {} bytes is loaded and saved again as another one of {} bytes", state.len(), again.len());
    let found = go_on(&mut second, 3..6)?;
    let buffers = if second.parameters.iter().any(|(_, parameter)| parameter.group == Group::Buffer) { ", buffers" } else { "" };
    let same = |((name, value, weight), (other, expected, of)): (&(String, f64, f64), &(String, f64, f64))| {
        name == other && close(*value, *expected) && (weight - of).abs() <= 1e-6 * of.abs()
    };
    must!(
        found.len() == expected.len() && found.iter().zip(&expected).all(same),
        "with parameters{buffers} and state restored, it goes on differently: a resumed run would; keep what changes in buffers, or in save_state"
    );
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
