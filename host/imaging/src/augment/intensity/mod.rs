//! Transforms of the image alone: they change intensities in place and leave targets as they are.
//!
//! One file each. A transform holds the ranges that its parameters are drawn from, and draws for each channel on its own
//! unless it says otherwise; the function that then changes a channel takes plain parameters.

mod blur;
mod brightness;
mod contrast;
mod gamma;
mod low_resolution;
mod noise;
mod statistics;

use rand::Rng;
use serde::{Deserialize, Serialize};

pub use blur::Blur;
pub use brightness::Brightness;
pub use contrast::Contrast;
pub use gamma::Gamma;
pub use low_resolution::LowResolution;
pub use noise::Noise;

use crate::Volume;

/// One transform of intensities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each says itself what it does")]
pub enum Intensity {
    Noise(Noise),
    Blur(Blur),
    Brightness(Brightness),
    Contrast(Contrast),
    LowResolution(LowResolution),
    Gamma(Gamma),
}

impl Intensity {
    pub(super) fn apply(&self, image: &mut Volume<f32>, rng: &mut impl Rng) {
        match self {
            Self::Noise(noise) => noise.apply(image, rng),
            Self::Blur(blur) => blur.apply(image, rng),
            Self::Brightness(brightness) => brightness.apply(image, rng),
            Self::Contrast(contrast) => contrast.apply(image, rng),
            Self::LowResolution(low_resolution) => low_resolution.apply(image, rng),
            Self::Gamma(gamma) => gamma.apply(image, rng),
        }
    }
}
