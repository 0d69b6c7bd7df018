//! How weights are moved: optimiser, learning rates, accumulation, averaging. nnU-Net's unless told otherwise.

use super::schedule::Schedule;
use super::weighting::Weighting;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// Optimisers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserName {
    /// Stochastic gradient descent with Nesterov momentum: nnU-Net's.
    Sgd,
    /// Adam; weight decay is part of the gradient.
    Adam,
    /// AdamW: weight decay apart from the gradient.
    Adamw,
}

impl OptimiserName {
    /// Learning rate and weight decay unless told otherwise: for SGD nnU-Net's, for Adam those of nnUNetTrainerAdam3en4, for AdamW those of
    /// nnU-Net's transformers (`nnUNetTrainer/primus/primus_trainers.py`).
    pub fn default_rates(self) -> (f64, f64) {
        match self {
            Self::Sgd => (1e-2, 3e-5),
            Self::Adam => (3e-4, 3e-5),
            Self::Adamw => (3e-4, 5e-2),
        }
    }
}

/// All of it, decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Which optimiser.
    pub optimiser: OptimiserName,
    /// Initial learning rate.
    pub learning_rate: f64,
    /// Factor of it for what the plugin created.
    pub heads_rate: f64,
    /// Factor of it for learned loss weights.
    pub loss_weights_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Of SGD.
    pub momentum: f64,
    /// Decays of Adam's means.
    pub betas: [f64; 2],
    /// Of Adam.
    pub eps: f64,
    /// Adam divides by the largest mean square so far.
    pub amsgrad: bool,
    /// Learning rate over epochs.
    pub schedule: Schedule,
    /// Bound on the norm of all gradients together.
    pub clip_norm: f64,
    /// Batches a step.
    pub accumulate: u64,
    /// Decay of the average of weights, which is then what is validated and predicted with.
    pub ema: Option<f64>,
    /// Weights of terms beyond those that the plugin gives. Not in the oldest checkpoints.
    #[serde(default)]
    pub weighting: Weighting,
}

impl Default for Recipe {
    fn default() -> Self {
        let (learning_rate, weight_decay) = OptimiserName::Sgd.default_rates();
        Self {
            optimiser: OptimiserName::Sgd,
            learning_rate,
            heads_rate: 1.0,
            loss_weights_rate: 1.0,
            weight_decay,
            momentum: 0.99,
            betas: [0.9, 0.999],
            eps: 1e-8,
            amsgrad: false,
            schedule: Schedule::Poly,
            clip_norm: 12.0,
            accumulate: 1,
            ema: None,
            weighting: Weighting::default(),
        }
    }
}
