//! Gamma: a power law on intensities.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::statistics::raise_and_measure;
use super::{Operate, Patch, Transform};
use crate::augment::check::{Error, Place};
use crate::augment::random::factor;
use crate::augment::scratch::Scratch;

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

/// A power.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct Raise {
    pub exponent: f64,
    pub inverted: bool,
}

impl Transform for Gamma {
    type Drawn = Raise;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, Raise)) {
        patch.each_channel(1.0, rng, push, |rng| Raise { exponent: factor(rng, self.exponent), inverted: self.inverted });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.range("exponent", self.exponent, 0.01, 100.0)
    }
}

impl Operate for Raise {
    fn apply(&self, channel: &mut Channel, _scratch: &mut Scratch) {
        gamma(channel, self.exponent as f32, self.inverted);
    }
}

fn gamma(channel: &mut Channel, exponent: f32, inverted: bool) {
    /// Of batchgeneratorsv2: keeps flat channels from dividing by zero.
    const EPSILON: f32 = 1e-7;
    let before = channel.statistics();
    let range = before.max - before.min;
    let scale = 1.0 / range.max(EPSILON);
    // The inverted image runs from -max to -min; scaled to 0 to 1 that is (max - value) / range.
    let (factor, shift) = if inverted { (-scale, before.max * scale) } else { (scale, -before.min * scale) };
    channel.replace(|values, pending| Some(raise_and_measure(values, pending.then_scale(factor, shift), exponent)));
    let after = channel.statistics();
    // Scaled back by `range` before the standard deviation is restored; here both in one step.
    let stretch = range * before.std as f32 / (range * after.std as f32).max(EPSILON) * if inverted { -1.0 } else { 1.0 };
    channel.scale(stretch, (before.mean - after.mean * f64::from(stretch)) as f32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_spread_stay_and_flat_channels_too() {
        let original: Vec<f32> = (0..1000).map(|i| ((i * 37) % 101) as f32 / 7.0 - 3.0).collect();
        for inverted in [false, true] {
            let mut values = original.clone();
            let mut channel = Channel::new(&mut values, [10; 3]);
            let before = channel.statistics();
            gamma(&mut channel, 1.4, inverted);
            let known = channel.statistics();
            let after = Channel::new(channel.settle(), [10; 3]).statistics();
            assert!((before.mean - after.mean).abs() < 1e-4 && (before.std - after.std).abs() < 1e-4, "{after:?}");
            assert!((known.mean - after.mean).abs() < 1e-4 && (known.max - after.max).abs() < 1e-4, "{known:?} {after:?}");
            assert!(values.iter().zip(&original).any(|(a, b)| (a - b).abs() > 0.1));
            // The order of intensities stays as well: the darkest voxel is the darkest.
            assert_eq!(values.iter().position(|v| *v == after.min), original.iter().position(|v| *v == before.min));
        }
        let mut flat = vec![2.0; 10];
        let mut channel = Channel::new(&mut flat, [1, 1, 10]);
        gamma(&mut channel, 0.8, false);
        channel.settle();
        assert_eq!(flat, [2.0; 10]);
    }
}
