//! Multiplicative brightness.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::Volume;
use crate::augment::random::factor;

/// Multiplies each channel by a factor (batchgeneratorsv2 `intensity/brightness.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brightness {
    /// Range of the factor, drawn below and above 1 equally often.
    pub factor: [f64; 2],
}

impl Brightness {
    pub(super) fn apply(&self, image: &mut Volume<f32>, rng: &mut impl Rng) {
        for c in 0..image.channels() {
            brightness(image.channel_mut(c), factor(rng, self.factor) as f32);
        }
    }
}

pub(super) fn brightness(channel: &mut [f32], factor: f32) {
    for value in channel {
        *value *= factor;
    }
}
