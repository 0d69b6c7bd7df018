//! Gamma: a power law on intensities.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::statistics::Statistics;
use crate::Volume;
use crate::augment::random::factor;

/// Raises each channel, scaled to 0 to 1, to a power, then gives it back its mean and standard deviation
/// (batchgeneratorsv2 `intensity/gamma.py` with `p_retain_stats=1`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gamma {
    /// Range of the exponent, drawn below and above 1 equally often.
    pub exponent: [f64; 2],
    /// Whether the negative of the image is transformed: bright parts then take the place of dark ones.
    pub inverted: bool,
}

impl Gamma {
    pub(super) fn apply(&self, image: &mut Volume<f32>, rng: &mut impl Rng) {
        for c in 0..image.channels() {
            gamma(image.channel_mut(c), factor(rng, self.exponent) as f32, self.inverted);
        }
    }
}

pub(super) fn gamma(channel: &mut [f32], exponent: f32, inverted: bool) {
    /// Of batchgeneratorsv2: keeps flat channels from dividing by zero.
    const EPSILON: f32 = 1e-7;
    let before = Statistics::of(channel);
    let range = before.max - before.min;
    let scale = 1.0 / range.max(EPSILON);
    // The inverted image runs from -max to -min; scaled to 0 to 1 that is (max - value) / range.
    for value in channel.iter_mut() {
        let position = if inverted { before.max - *value } else { *value - before.min };
        *value = (position * scale).powf(exponent);
    }
    let after = Statistics::of(channel);
    // Scaled back by `range` before the standard deviation is restored; here both in one step.
    let stretch = range * before.std as f32 / (range * after.std as f32).max(EPSILON) * if inverted { -1.0 } else { 1.0 };
    let (mean_before, mean_after) = (before.mean as f32, after.mean as f32);
    for value in channel {
        *value = (*value - mean_after) * stretch + mean_before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_spread_stay_and_flat_channels_too() {
        let original: Vec<f32> = (0..1000).map(|i| ((i * 37) % 101) as f32 / 7.0 - 3.0).collect();
        for inverted in [false, true] {
            let mut channel = original.clone();
            gamma(&mut channel, 1.4, inverted);
            let (before, after) = (Statistics::of(&original), Statistics::of(&channel));
            assert!((before.mean - after.mean).abs() < 1e-4 && (before.std - after.std).abs() < 1e-4, "{after:?}");
            assert!(channel.iter().zip(&original).any(|(a, b)| (a - b).abs() > 0.1));
            // The order of intensities stays as well: the darkest voxel is the darkest.
            assert_eq!(channel.iter().position(|v| *v == after.min), original.iter().position(|v| *v == before.min));
        }
        let mut flat = vec![2.0; 10];
        gamma(&mut flat, 0.8, false);
        assert_eq!(flat, [2.0; 10]);
    }
}
