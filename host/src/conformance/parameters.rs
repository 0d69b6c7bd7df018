//! Parameters and buffers: that the trainer uses what the host trains, and trains what it should.

use super::given::Given;
use super::rig::{Kept, Rig};
use super::{Content, Finding, Subject};
use crate::network::Group;
use crate::train::total;
use std::collections::BTreeSet;
use tch::Tensor;

/// Another value of each parameter must change something, in some world: else it was read in `new`, and trains in vain.
pub(super) fn move_something(subject: &Subject) -> Result<(), Finding> {
    let (mut still, mut moved) = (BTreeSet::new(), BTreeSet::new());
    subject.in_every_world(Content::Whole, |mut rig| {
        let state = rig.keep()?;
        let before = given(&mut rig, &state)?;
        if !before.same_bits(&given(&mut rig, &state)?) {
            return Err(Finding::Skipped("two calls with the same parameters and state give other numbers".to_owned()));
        }
        for (name, tensor) in tensors(&rig, |group| group != Group::Buffer) {
            let after = given_with_another(&mut rig, &tensor, &state)?;
            if let Some(output) = before.changed_in_training_only(&after) {
                return Err(Finding::Warning(format!(
                    "forward: another value of parameter '{name}' changes output {output} in training, but not in evaluation: prediction may use what was read \
                     of it in `new`"
                )));
            }
            if before.same_bits(&after) { still.insert(name) } else { moved.insert(name) };
        }
        Ok(())
    })?;
    match still.difference(&moved).next() {
        Some(name) => Err(Finding::failed(format!(
            "another value of parameter '{name}' changes neither outputs nor predictions nor terms nor weights: what was read of it in `new` does not follow \
             training; read the tensor in every call"
        ))),
        None => Ok(()),
    }
}

/// Buffers with random numbers that matter and that no step writes were meant to be trained.
pub(super) fn frozen(subject: &Subject) -> Result<(), Finding> {
    subject.in_every_world(Content::Whole, |mut rig| {
        let random: Vec<(String, Tensor)> = tensors(&rig, |group| group == Group::Buffer).into_iter().filter(|(_, tensor)| varies(tensor)).collect();
        let kept: Vec<Tensor> = random.iter().map(|(_, tensor)| tensor.detach().copy()).collect();
        rig.train(0..3)?;
        let state = rig.keep()?;
        let before = given(&mut rig, &state)?;
        // What another seed does not change was not drawn: a kernel, a grid.
        let another = Subject { seed: subject.seed + 1, ..subject.clone() }.rig(rig.problem)?;
        let drawn = |name: &str, tensor: &Tensor| tensors(&another, |group| group == Group::Buffer).iter().any(|(other, held)| other == name && !held.equal(tensor));
        let still = random.iter().zip(&kept).filter(|((name, tensor), kept)| tensor.equal(kept) && drawn(name, tensor));
        for ((name, tensor), _) in still {
            if !before.same_bits(&given_with_another(&mut rig, tensor, &state)?) {
                return Err(Finding::Warning(format!(
                    "buffer '{name}' holds random numbers that outputs or terms depend on, and nothing ever changes them: a head that was meant to be trained \
                     is Params::weight"
                )));
            }
        }
        Ok(())
    })
}

/// The whole loss must not fall without end when a learned weight moves one way.
pub(super) fn have_a_price(subject: &Subject) -> Result<(), Finding> {
    let mut learned = false;
    subject.in_every_world(Content::Whole, |mut rig| {
        let state = rig.keep()?;
        for (name, tensor) in tensors(&rig, |group| group == Group::LossWeights) {
            learned = true;
            for direction in [1.0, -1.0] {
                let mut at = |by: f64| -> Result<f64, Finding> { with(&tensor, &(&tensor.detach() + by * direction), || whole_loss(&mut rig, &state)) };
                // Where the loss has no value there, as of ln s for s < 0, that way ends.
                let [Ok(here), Ok(far), Ok(farther)] = [at(0.0), at(10.0), at(20.0)] else { continue };
                if far < here && farther <= far + 1e-6 * far.abs() {
                    return Err(Finding::Warning(format!(
                        "loss: the whole loss falls from {here:.4} to {far:.4} and {farther:.4} when the learned weight '{name}' moves by {} and {}: it will \
                         train the weight away instead of the network; give it a price, such as Base::learn_weights does",
                        10.0 * direction,
                        20.0 * direction
                    )));
                }
            }
        }
        Ok(())
    })?;
    if learned { Ok(()) } else { Err(Finding::Skipped("it has no learned weights of terms".to_owned())) }
}

fn whole_loss(rig: &mut Rig, state: &Kept) -> Result<f64, Finding> {
    state.put_back(&mut rig.trainer)?;
    let step = rig.step(0);
    let terms = rig.whole_step(&step)?;
    Ok(total(&terms)?.map(|total| f64::try_from(&total)).transpose()?.unwrap_or(0.0))
}

/// Name and tensor of those of a group.
fn tensors(rig: &Rig, wanted: impl Fn(Group) -> bool) -> Vec<(String, Tensor)> {
    let all = rig.parameters.iter().filter(|(_, parameter)| wanted(parameter.group));
    all.map(|(name, parameter)| (name.trim_start_matches("plugin.").to_owned(), parameter.tensor.shallow_clone())).collect()
}

/// Whether not all numbers are the same.
fn varies(tensor: &Tensor) -> bool {
    tensor.numel() > 1 && (tensor.max() - tensor.min()).double_value(&[]) > 0.0
}

fn given(rig: &mut Rig, state: &Kept) -> Result<Given, Finding> {
    state.put_back(&mut rig.trainer)?;
    Given::of(rig, 0)
}

/// What is given with another value of `tensor`.
fn given_with_another(rig: &mut Rig, tensor: &Tensor, state: &Kept) -> Result<Given, Finding> {
    tch::manual_seed(11);
    let size = tensor.detach().abs().mean(tch::Kind::Float).double_value(&[]).max(0.1);
    let other = tensor.detach() + tensor.detach().randn_like() * size;
    // First, since the tensor may be a buffer.
    state.put_back(&mut rig.trainer)?;
    with(tensor, &other, || Given::of(rig, 0))
}

/// What `work` returns while `tensor` holds `other`.
fn with<T>(tensor: &Tensor, other: &Tensor, work: impl FnOnce() -> Result<T, Finding>) -> Result<T, Finding> {
    let kept = tensor.detach().copy();
    let set = |value: &Tensor| -> Result<(), Finding> {
        let _no_grad = tch::no_grad_guard();
        tensor.shallow_clone().f_copy_(value)?;
        Ok(())
    };
    set(other)?;
    let result = work();
    set(&kept)?;
    result
}
