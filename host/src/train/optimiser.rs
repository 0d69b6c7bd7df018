//! Gradient clipping and stochastic gradient descent.

use crate::network::{Error, Group, Parameter, Parameters};
use crate::shim;
use indexmap::IndexMap;
use tch::Tensor;

/// SGD with Nesterov momentum, as torch has it: `v ← m·v + g`, `p ← p − lr·(g + m·v)`, where `g` includes the weight decay.
///
/// A tensor without a gradient is not touched, neither by momentum nor by decay.
#[derive(Debug)]
pub struct Sgd {
    momentum: f64,
    weight_decay: f64,
    /// One a trained parameter, by its name.
    velocity: IndexMap<String, Tensor>,
}

impl Sgd {
    /// Zero velocity for every trained parameter.
    pub fn new(parameters: &Parameters, momentum: f64, weight_decay: f64) -> Self {
        let velocity = trained(parameters).map(|(name, parameter)| (name.to_owned(), parameter.tensor.zeros_like()));
        Self { momentum, weight_decay, velocity: velocity.collect() }
    }

    /// One step with learning rate `lr`.
    pub fn step(&mut self, parameters: &Parameters, lr: f64) -> Result<(), Error> {
        for decay in [true, false] {
            let group = trained(parameters).zip(self.velocity.values()).filter(|((_, parameter), _)| parameter.decay == decay);
            let (tensors, velocities): (Vec<_>, Vec<_>) = group.map(|((_, parameter), velocity)| (&parameter.tensor, velocity)).unzip();
            shim::sgd(&tensors, &velocities, lr, self.momentum, if decay { self.weight_decay } else { 0.0 })?;
        }
        Ok(())
    }

    /// Velocities by parameter name: what a checkpoint holds.
    pub fn state(&self) -> &IndexMap<String, Tensor> {
        &self.velocity
    }
}

/// Clips the norm of all gradients but those of loss weights to `max_norm`; returns the norm before.
pub fn clip_gradients(parameters: &Parameters, max_norm: f64) -> Result<f64, Error> {
    let clipped: Vec<_> = trained(parameters).filter(|(_, p)| p.group != Group::LossWeights).map(|(_, p)| &p.tensor).collect();
    Ok(shim::clip_gradients(&clipped, max_norm)?)
}

/// Removes all gradients.
pub fn clear_gradients(parameters: &Parameters) -> Result<(), Error> {
    let tensors: Vec<_> = trained(parameters).map(|(_, parameter)| &parameter.tensor).collect();
    Ok(shim::clear_gradients(&tensors)?)
}

fn trained(parameters: &Parameters) -> impl Iterator<Item = (&str, &Parameter)> {
    parameters.iter().filter(|(_, parameter)| parameter.group != Group::Buffer)
}
