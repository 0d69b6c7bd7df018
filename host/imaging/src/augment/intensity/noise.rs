//! Additive Gaussian noise.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::pointwise::Pointwise;
use super::{Operate, Patch, Transform};
use crate::augment::check::{Error, Place};
use crate::augment::math::normal;
use crate::augment::random::uniform;
use crate::augment::scratch::Scratch;
use crate::multiversion::multiversion;

/// Adds normal noise of one strength to all channels (batchgeneratorsv2 `intensity/gaussian_noise.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Range of the standard deviation. (nnU-Net calls it a variance, and uses it as a standard deviation.)
    pub sigma: [f64; 2],
}

/// Noise of this standard deviation.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct AddNoise {
    pub sigma: f64,
    pub seed: u64,
}

impl Transform for Noise {
    type Drawn = AddNoise;

    /// One strength for all channels.
    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, AddNoise)) {
        let sigma = uniform(rng, self.sigma);
        patch.each_channel(1.0, rng, push, |rng| AddNoise { sigma, seed: rng.next_u64() });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.range("sigma", self.sigma, 0.0, 1e3)
    }
}

impl Operate for AddNoise {
    fn apply(&self, channel: &mut Channel, _scratch: &mut Scratch) {
        add(channel, self.sigma as f32, self.seed);
    }
}

/// Adds normal noise with standard deviation `sigma`; equal seeds add equal noise.
fn add(channel: &mut Channel, sigma: f32, seed: u64) {
    channel.replace(|values, pending| {
        // Quicker than what everything else is drawn with, and seeded by that.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut bits = [0_u32; 256];
        for values in values.chunks_mut(bits.len()) {
            rng.fill_bytes(bytemuck::cast_slice_mut(&mut bits));
            add_to(values, pending, sigma, &bits);
        }
        None
    });
}

multiversion! {
    fn add_to(values: &mut [f32], pending: Pointwise, sigma: f32, bits: &[u32]) {
        for (value, bits) in values.iter_mut().zip(bits) {
            *value = pending.at(*value) + sigma * normal(*bits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::intensity::channel::Channel;

    #[test]
    fn noise_has_the_drawn_standard_deviation_and_no_mean() {
        let noisy = |seed| {
            let mut values = vec![1.0; 30_000];
            let mut channel = Channel::new(&mut values, [10, 50, 60]);
            channel.scale(2.0, 1.0);
            add(&mut channel, 0.5, seed);
            let statistics = channel.statistics();
            assert!((statistics.mean - 3.0).abs() < 0.01, "{statistics:?}");
            assert!((statistics.std - 0.5).abs() < 0.01, "{statistics:?}");
            values
        };
        assert_eq!(noisy(1), noisy(1));
        assert_ne!(noisy(1), noisy(2));
    }
}
