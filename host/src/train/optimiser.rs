//! The optimiser of a network: groups of parameters, what is remembered of each, and the clipping of their gradients.

use super::StepError;
use crate::config::{Common, Recipe};
use crate::network::{Group, Parameters};
use crate::optimisers::{Hyper, OptimiserKind, State};
use crate::shim;
use tch::{Kind, Tensor};

/// One of the [`optimisers`](crate::optimisers) at work.
#[derive(Debug)]
pub struct Optimiser {
    rule: OptimiserKind,
    hyper: Hyper,
    clip_norm: f64,
    slots: Vec<Slot>,
    /// Trunk and heads, whose gradients are clipped together.
    clipped: Vec<Tensor>,
    /// Learned loss weights, whose gradients are not.
    others: Vec<Tensor>,
}

/// Parameters that share learning rate and decay.
#[derive(Debug)]
struct Slot {
    /// Factor of the learning rate.
    rate: f64,
    weight_decay: f64,
    names: Vec<String>,
    tensors: Vec<Tensor>,
    /// By what it is (`velocity`, …): one a tensor.
    state: State,
}

impl Optimiser {
    /// For everything in `parameters` that is trained.
    pub fn new(parameters: &Parameters, recipe: &Recipe) -> Self {
        let Recipe { common, learning_rate: lr, weight_decay, eps, .. } = recipe;
        let Common { optimiser, heads_rate, loss_weights_rate, momentum, betas, amsgrad, clip_norm, .. } = *common;
        let hyper = Hyper { lr: *lr, weight_decay: *weight_decay, momentum, betas, eps: *eps, amsgrad };
        let mut slots = Vec::new();
        for (group, rate) in [(Group::Trunk, 1.0), (Group::Heads, heads_rate), (Group::LossWeights, loss_weights_rate)] {
            for decay in [true, false] {
                let members = parameters.trained().filter(|(_, p)| p.group == group && p.decay == decay);
                let (names, tensors): (Vec<_>, Vec<_>) = members.map(|(name, p)| (name.to_owned(), p.tensor.shallow_clone())).unzip();
                if !tensors.is_empty() {
                    let state = optimiser.rule().state(&hyper, &tensors);
                    slots.push(Slot { rate, weight_decay: if decay { *weight_decay } else { 0.0 }, names, tensors, state });
                }
            }
        }
        let tensors = |loss_weights| {
            let members = parameters.trained().filter(move |(_, p)| (p.group == Group::LossWeights) == loss_weights);
            members.map(|(_, p)| p.tensor.shallow_clone()).collect()
        };
        Self { rule: optimiser, hyper, clip_norm, slots, clipped: tensors(false), others: tensors(true) }
    }

    /// Removes all gradients.
    pub fn clear_gradients(&self) -> Result<(), StepError> {
        shim::clear_gradients(&self.clipped)?;
        Ok(shim::clear_gradients(&self.others)?)
    }

    /// Divides all gradients by `scale`, and clips the norm of all but those of loss weights; returns the norm before clipping.
    ///
    /// # Errors
    /// [`StepError::Gradients`] where one is not finite; then no gradient has changed.
    pub fn clip_gradients(&self, scale: f64) -> Result<f64, StepError> {
        let norm = shim::clip_gradients(&self.clipped, &self.others, self.clip_norm, scale)?;
        if norm.is_finite() { Ok(norm) } else { Err(StepError::Gradients(self.first_nonfinite()?)) }
    }

    /// The parameter whose gradient is not finite; the first one, as parameters were created.
    fn first_nonfinite(&self) -> Result<String, StepError> {
        let named = self.slots.iter().flat_map(|slot| slot.names.iter().zip(&slot.tensors));
        for (name, tensor) in named.filter(|(_, tensor)| tensor.grad().defined()) {
            if !f64::try_from(tensor.grad().f_sum(Kind::Double)?)?.is_finite() {
                return Ok(name.clone());
            }
        }
        Ok("all together".to_owned())
    }

    /// One step with learning rate `lr`.
    pub fn step(&mut self, lr: f64) -> Result<(), StepError> {
        for Slot { rate, weight_decay, tensors, state, .. } in &self.slots {
            self.rule.rule().step(&Hyper { lr: lr * rate, weight_decay: *weight_decay, ..self.hyper }, tensors, state)?;
        }
        Ok(())
    }

    /// What it remembers, as a checkpoint names it: `velocity.<parameter>`, ….
    pub fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.slots.iter().flat_map(|slot| {
            slot.state
                .iter()
                .flat_map(|(what, tensors)| slot.names.iter().zip(tensors).map(move |(name, tensor)| (format!("{what}.{name}"), tensor)))
        })
    }
}
