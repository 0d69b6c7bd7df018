//! Additive Gaussian noise.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use crate::Volume;
use crate::augment::random::uniform;

/// Adds normal noise of one strength to all channels (batchgeneratorsv2 `intensity/gaussian_noise.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Range of the standard deviation. (nnU-Net calls it a variance, and uses it as a standard deviation.)
    pub sigma: [f64; 2],
}

impl Noise {
    pub(super) fn apply(&self, image: &mut Volume<f32>, rng: &mut impl Rng) {
        let sigma = uniform(rng, self.sigma) as f32;
        for value in image.data_mut() {
            *value += sigma * rng.sample::<f32, _>(StandardNormal);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::augment::intensity::statistics::Statistics;

    #[test]
    fn noise_has_the_drawn_standard_deviation_and_no_mean() {
        let mut image = Volume::filled([2, 20, 30, 40], 3.0);
        Noise { sigma: [0.5, 0.5] }.apply(&mut image, &mut ChaCha8Rng::seed_from_u64(5));
        let statistics = Statistics::of(image.data());
        assert!((statistics.mean - 3.0).abs() < 0.01, "{statistics:?}");
        assert!((statistics.std - 0.5).abs() < 0.01, "{statistics:?}");
        assert_ne!(image.channel(0), image.channel(1));
    }
}
