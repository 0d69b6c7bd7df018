//! Exponential moving average of weights (Polyak averaging; torch's `swa_utils.get_ema_multi_avg_fn`).

use super::StepError;
use crate::network::Parameters;
use crate::shim;
use tch::Tensor;

/// Averages of everything that is trained. Buffers are not averaged: the average works with those of the newest weights.
#[derive(Debug)]
pub struct Average {
    decay: f64,
    names: Vec<String>,
    weights: Vec<Tensor>,
    averages: Vec<Tensor>,
}

impl Average {
    /// Copies of what `parameters` hold now.
    pub fn new(parameters: &Parameters, decay: f64) -> Self {
        let (names, weights): (Vec<_>, Vec<_>) = parameters.trained().map(|(name, p)| (name.to_owned(), p.tensor.shallow_clone())).unzip();
        let averages = weights.iter().map(|tensor| tensor.detach().copy()).collect();
        Self { decay, names, weights, averages }
    }

    /// After an optimiser step: `average ← decay · average + (1 − decay) · weight`; a copy after the first one.
    pub fn update(&self, first: bool) -> Result<(), StepError> {
        Ok(shim::lerp(&self.averages, &self.weights, if first { 1.0 } else { 1.0 - self.decay })?)
    }

    /// Puts the averages in the weights' place, and back when called again.
    pub fn swap(&self) -> Result<(), StepError> {
        Ok(shim::swap(&self.weights, &self.averages)?)
    }

    /// As a checkpoint names them: `ema.<parameter>`.
    pub fn state(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.names.iter().zip(&self.averages).map(|(name, average)| (format!("ema.{name}"), average))
    }
}
