//! A fingerprint of what a trainer predicts with the weights that it has: a few numbers from made-up maps, which every checkpoint holds.
//!
//! Prediction makes a new trainer from the task, the options, and a checkpoint's parameters and buffers; whatever else decided what the
//! trained one predicts is lost: a number that `new` drew from a generator of its own, a field that training changed, the state of
//! `save_state`. So the host makes such a trainer at the first checkpoint and [compares](Probe::difference) it with the live one, on the
//! device of the training. The probe in the checkpoint is one of such a trainer on the CPU, whatever trained it, and is compared again
//! whenever a model is loaded, maybe years later, with another build of the plugin.

use super::Error;
use super::keeps::Trained;
use super::maps::{features, sizes};
use crate::plugin::{CallError, LoadedTrainer};
use plugin_api::manifest::FORWARD;
use plugin_api::{Kind, Outputs, Pass, Task};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind as Dtype, Tensor};

/// Numbers of all parts together, 64 KB.
const MOST_NUMBERS: usize = 16 << 10;
/// Values of all maps together: larger ones would take too long.
const MOST_VALUES: i64 = 4 << 20;
/// Relative to the largest number of a part.
const TOLERANCE: f64 = 1e-3;

/// What heads make of made-up maps.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What was asked.
    pub form: Form,
    /// Numbers of all parts, one after the other.
    pub numbers: Vec<f32>,
}

/// What a probe asks, and how it is laid out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Form {
    /// Sizes `([z,] y, x)` of the maps of all stages, finest first.
    pub sizes: Vec<Vec<i64>>,
    /// What the parts are, and how many numbers each has.
    pub parts: Vec<(String, usize)>,
}

/// The smallest maps that a trainer like `trained` accepts on the CPU; `None` where it accepts no small ones. It is `trained` that is
/// copied, not called: an instance that panics cannot be used any more.
pub fn accepted(trained: Trained) -> Result<Option<Vec<Vec<i64>>>, Error> {
    for sizes in sizes(trained.task).into_iter().filter(|sizes| are_small(trained.task, sizes)) {
        match Probe::anew(trained, &sizes, Device::Cpu) {
            Ok(_) => return Ok(Some(sizes)),
            // Its weights are out of range, not the sizes.
            Err(error) if error.is_nonfinite() => return Ok(Some(sizes)),
            Err(Error::Plugin(_)) => {}
            Err(other) => return Err(other),
        }
    }
    Ok(None)
}

/// Whether these are sizes of maps of all stages that take little time and memory. Sizes in a stranger's file may be anything.
fn are_small(task: &Task, sizes: &[Vec<i64>]) -> bool {
    let values = |(channels, size): (&i64, &Vec<i64>)| {
        let fits = size.len() == task.dims && size.iter().all(|length| *length > 0);
        size.iter().try_fold(*channels, |values, length| values.checked_mul(*length)).filter(|_| fits)
    };
    let all = task.features.iter().zip(sizes).map(values).try_fold(0i64, |sum, values| sum.checked_add(values?));
    sizes.len() == task.features.len() && all.is_some_and(|values| values <= MOST_VALUES)
}

impl Probe {
    /// Asks `trainer`, on its device, in evaluation mode and f32, for logits and predictions of maps of these sizes. Outputs that predict nothing are
    /// left out.
    pub fn of(trainer: &LoadedTrainer, task: &Task, sizes: &[Vec<i64>]) -> Result<Self, Error> {
        let _no_grad = tch::no_grad_guard();
        let maps = features(task, sizes, trainer.device())?;
        let logits = trainer.forward(&maps, &Pass { training: false, levels: 1, amp: false }, 0)?;
        let mut predicts = Outputs::new();
        for output in trainer.outputs().iter().filter(|output| output.kind != Kind::Aux) {
            predicts.push(&output.name, logits.get(&output.name).map_err(|e| trainer.error("forward", e.to_string()))?[0].shallow_clone());
        }
        let predictions = trainer.activate(&predicts)?;
        let count = predicts.iter().count();
        let mut probe = Self { form: Form { sizes: sizes.to_vec(), parts: Vec::new() }, numbers: Vec::new() };
        for (what, outputs) in [("logits", &predicts), ("predictions", &predictions)] {
            for (name, levels) in outputs.iter() {
                probe.add(format!("{what} of '{name}'"), &levels[0], MOST_NUMBERS / (2 * count))?;
            }
        }
        Ok(probe)
    }

    /// The same of a new trainer on `device` with the weights of `trained`, as prediction makes it.
    pub fn anew(trained: Trained, sizes: &[Vec<i64>], device: Device) -> Result<Self, Error> {
        let plugin = trained.plugin;
        if !are_small(trained.task, sizes) {
            let message = format!("cannot be probed with maps of sizes {sizes:?}, which are not those of its network, or too large");
            return Err(CallError::new(plugin.identity(), FORWARD, message).into());
        }
        let (trainer, _parameters) = trained.copy(device)?;
        Self::of(&trainer, trained.task, sizes)
    }

    /// Adds at most so many numbers of `values`, evenly spaced.
    fn add(&mut self, part: String, values: &Tensor, most: usize) -> Result<(), Error> {
        let every = values.numel().div_ceil(most.max(1)).max(1);
        let chosen = values.f_to_kind(Dtype::Float)?.f_reshape([-1])?.f_slice(0, None, None, every as i64)?;
        let chosen = Vec::<f32>::try_from(chosen.f_to_device(Device::Cpu)?)?;
        self.form.parts.push((part, chosen.len()));
        self.numbers.extend(chosen);
        Ok(())
    }

    /// The first part in which `other` says something else, in words, if there is one.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.form != other.form {
            return Some(format!("it has {}; there are {}", told(&other.form), told(&self.form)));
        }
        let mut from = 0;
        for (part, count) in &self.form.parts {
            let of = |probe: &Self| probe.numbers.get(from..from + count).unwrap_or_default().to_vec();
            let (ours, theirs) = (of(self), of(other));
            from += count;
            let largest = ours.iter().chain(&theirs).filter(|x| x.is_finite()).fold(0f32, |most, x| most.max(x.abs()));
            let apart = |(a, b): (&f32, &f32)| if a.is_nan() && b.is_nan() || a == b { 0.0 } else { f64::from(a - b).abs() };
            let most = ours.iter().zip(&theirs).map(apart).fold(0.0, |most: f64, off| if off.is_nan() { off } else { most.max(off) });
            if most.is_nan() || most > TOLERANCE * f64::from(largest) {
                return Some(format!("{part} differ by up to {most:.1e}, where the largest is {largest:.1e}"));
            }
        }
        None
    }
}

fn told(form: &Form) -> String {
    form.parts.iter().map(|(part, count)| format!("{count} {part}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(numbers: &[f32]) -> Probe {
        let parts = vec![("logits of 'a'".to_owned(), 2), ("predictions of 'a'".to_owned(), numbers.len() - 2)];
        Probe { form: Form { sizes: vec![vec![1, 1]], parts }, numbers: numbers.to_vec() }
    }

    #[test]
    fn rounding_is_no_difference_and_the_first_other_part_is_named() {
        let first = probe(&[100.0, -3.0, 0.5, f32::NAN]);
        assert_eq!(first.difference(&probe(&[100.05, -3.05, 0.5002, f32::NAN])), None);
        let found = first.difference(&probe(&[100.0, -3.0, 0.51, f32::NAN])).expect("differs");
        assert!(found.starts_with("predictions of 'a' differ by up to 1.0e-2"), "{found}");
        assert!(first.difference(&probe(&[100.0, f32::NAN, 0.5, f32::NAN])).is_some_and(|found| found.contains("logits of 'a'")));
        assert!(first.difference(&probe(&[100.0, -3.0, 0.5])).is_some_and(|found| found.contains("1 predictions of 'a'")));
    }
}
