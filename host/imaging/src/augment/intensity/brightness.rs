//! Brightness: a factor, or a shift.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::Operation;
use crate::augment::random::factor;

/// Multiplies each channel by a factor (batchgeneratorsv2 `intensity/brightness.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brightness {
    /// Range of the factor, drawn below and above 1 equally often.
    pub factor: [f64; 2],
}

impl Brightness {
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Operation {
        Operation::Scale { factor: factor(rng, self.factor) }
    }
}

/// Adds a number to some channels, drawn from a normal distribution around 0 (batchgeneratorsv2 `intensity/brightness.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrightnessShift {
    /// Its standard deviation.
    pub sigma: f64,
    /// For each channel.
    pub channel_probability: f64,
}

impl BrightnessShift {
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Operation {
        Operation::Shift { by: self.sigma * rng.sample::<f64, _>(StandardNormal) }
    }
}
