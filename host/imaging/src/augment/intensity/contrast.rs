//! Contrast.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::statistics::Statistics;
use crate::Volume;
use crate::augment::random::factor;

/// Stretches each channel around its mean and clips to its former range (batchgeneratorsv2 `intensity/contrast.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrast {
    /// Range of the factor, drawn below and above 1 equally often.
    pub factor: [f64; 2],
}

impl Contrast {
    pub(super) fn apply(&self, image: &mut Volume<f32>, rng: &mut impl Rng) {
        for c in 0..image.channels() {
            contrast(image.channel_mut(c), factor(rng, self.factor) as f32);
        }
    }
}

pub(super) fn contrast(channel: &mut [f32], factor: f32) {
    let Statistics { mean, min, max, .. } = Statistics::of(channel);
    let mean = mean as f32;
    for value in channel {
        let stretched = (*value - mean) * factor + mean;
        // Not f32::clamp: it panics where there is no range, as in a channel of NaN.
        *value = stretched.max(min).min(max);
    }
}
