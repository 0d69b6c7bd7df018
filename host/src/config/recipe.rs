//! How weights are moved, decided. Checkpoints have it as JSON, so that its names only grow.

use super::layers::Layers;
use super::optimiser::Common;
use super::schedule::Schedule;
use super::weighting::Weighting;
use serde::{Deserialize, Serialize};

/// All of it, decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// As it was asked for.
    #[serde(flatten)]
    pub common: Common,
    /// Initial learning rate.
    pub learning_rate: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Of Adam.
    pub eps: f64,
    /// Learning rate over epochs.
    pub schedule: Schedule,
    /// Weights of terms beyond those that the plugin gives. Not in the oldest checkpoints.
    #[serde(default)]
    pub weighting: Weighting,
}

impl Recipe {
    /// torch's `eps` of Adam.
    pub(super) const EPS: f64 = 1e-8;
}

impl Default for Recipe {
    /// nnU-Net's.
    fn default() -> Self {
        Layers::default().asked().decide(1).expect("defaults fit together")
    }
}
