//! Learning rate over epochs.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Learning rate over epochs, constant within one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// nnU-Net's (`training/lr_scheduler/polylr.py`).
    Poly,
    /// Half a cosine, to zero (`torch.optim.lr_scheduler.CosineAnnealingLR` over all epochs).
    Cosine,
    /// Linear for `epochs`, then polynomial over those that are left (`training/lr_scheduler/warmup.py`).
    WarmupPoly {
        /// Epochs of the linear part.
        epochs: u64,
    },
    /// The initial one.
    Constant,
}

impl Schedule {
    /// Learning rate of `epoch` out of `epochs`.
    pub fn rate(self, initial: f64, epoch: u64, epochs: u64) -> f64 {
        let share = |done: u64, of: u64| done as f64 / of as f64;
        match self {
            Self::Poly => initial * (1.0 - share(epoch, epochs)).powf(0.9),
            Self::Cosine => initial * (1.0 + (PI * share(epoch, epochs)).cos()) / 2.0,
            Self::WarmupPoly { epochs: warmup } if epoch < warmup => initial * share(epoch + 1, warmup),
            Self::WarmupPoly { epochs: warmup } => Self::Poly.rate(initial, epoch - warmup, epochs - warmup),
            Self::Constant => initial,
        }
    }
}
