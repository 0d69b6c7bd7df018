//! The optimiser: groups of parameters, what it remembers of each, and the clipping of their gradients.

use super::StepError;
use crate::config::{Common, OptimiserName, Recipe};
use crate::network::{Group, Parameters};
use crate::shim::{self, Adam, AdamState};
use tch::{Device, Kind, Tensor};

/// SGD with Nesterov momentum, Adam or AdamW, as torch has them.
///
/// A tensor without a gradient is not touched, neither by momentum nor by decay.
#[derive(Debug)]
pub struct Optimiser {
    recipe: Recipe,
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
    state: Vec<(&'static str, Vec<Tensor>)>,
}

impl Optimiser {
    /// For everything in `parameters` that is trained.
    pub fn new(parameters: &Parameters, recipe: &Recipe) -> Self {
        let mut slots = Vec::new();
        for (group, rate) in
            [(Group::Trunk, 1.0), (Group::Heads, recipe.common.heads_rate), (Group::LossWeights, recipe.common.loss_weights_rate)]
        {
            for decay in [true, false] {
                let members = parameters.trained().filter(|(_, p)| p.group == group && p.decay == decay);
                let (names, tensors): (Vec<_>, Vec<_>) = members.map(|(name, p)| (name.to_owned(), p.tensor.shallow_clone())).unzip();
                if !tensors.is_empty() {
                    let state = initial_state(recipe, &tensors);
                    slots.push(Slot { rate, weight_decay: if decay { recipe.weight_decay } else { 0.0 }, names, tensors, state });
                }
            }
        }
        let tensors = |loss_weights| {
            let members = parameters.trained().filter(move |(_, p)| (p.group == Group::LossWeights) == loss_weights);
            members.map(|(_, p)| p.tensor.shallow_clone()).collect()
        };
        Self { recipe: recipe.clone(), slots, clipped: tensors(false), others: tensors(true) }
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
        let norm = shim::clip_gradients(&self.clipped, &self.others, self.recipe.common.clip_norm, scale)?;
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
        let Common { optimiser, momentum, betas: [beta1, beta2], amsgrad, .. } = self.recipe.common;
        let eps = self.recipe.eps;
        for Slot { rate, weight_decay, tensors, state, .. } in &self.slots {
            let lr = lr * rate;
            match (optimiser, &state[..]) {
                (OptimiserName::Sgd, [(_, velocity)]) => shim::sgd(tensors, velocity, lr, momentum, *weight_decay)?,
                (name, [(_, steps), (_, means), (_, squares), largest @ ..]) => {
                    let decoupled = (name == OptimiserName::Adamw).into();
                    let options = Adam { lr, beta1, beta2, eps, weight_decay: *weight_decay, decoupled, amsgrad: amsgrad.into() };
                    let largest = largest.first().map_or(&[][..], |(_, largest)| largest);
                    shim::adam(tensors, AdamState { means, squares, largest, steps }, &options)?;
                }
                _ => unreachable!("`initial_state` makes these"),
            }
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

fn initial_state(recipe: &Recipe, tensors: &[Tensor]) -> Vec<(&'static str, Vec<Tensor>)> {
    let zeros = || tensors.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
    // Counted on the CPU, as torch does.
    let steps = || tensors.iter().map(|_| Tensor::zeros([], (Kind::Float, Device::Cpu))).collect();
    match recipe.common.optimiser {
        OptimiserName::Sgd => vec![("velocity", zeros())],
        OptimiserName::Adam | OptimiserName::Adamw => {
            let mut state = vec![("steps", steps()), ("mean", zeros()), ("square", zeros())];
            state.extend(recipe.common.amsgrad.then(|| ("largest_square", zeros())));
            state
        }
    }
}
