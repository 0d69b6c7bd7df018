//! Transforms of the image alone: they change intensities and leave targets as they are.
//!
//! One file each. A transform holds the ranges that its parameters are drawn from; [`Intensity::draw`] makes [`Operation`]s of
//! plain numbers out of it, one for each channel that it changes, and [`Operation::apply`] carries one out on a [`Channel`].

mod blur;
mod brightness;
mod channel;
mod contrast;
mod gamma;
mod local;
mod low_resolution;
mod median;
mod noise;
mod pointwise;
mod rectangles;
mod sharpen;
mod statistics;

use rand::Rng;
use serde::{Deserialize, Serialize};

pub use blur::Blur;
pub use brightness::{Brightness, BrightnessShift};
pub use contrast::Contrast;
pub use gamma::Gamma;
pub use local::{BrightnessGradient, BumpRange, LocalGamma};
pub use low_resolution::LowResolution;
pub use median::Median;
pub use noise::Noise;
pub use rectangles::Rectangles;
pub use sharpen::Sharpen;

use super::Step;
use super::random::chance;
use super::scratch::Scratch;
use crate::BoundingBox;
use channel::Channel;
use local::Bump;

/// One transform of intensities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each says itself what it does")]
pub enum Intensity {
    Noise(Noise),
    Blur(Blur),
    Brightness(Brightness),
    BrightnessShift(BrightnessShift),
    Contrast(Contrast),
    LowResolution(LowResolution),
    Gamma(Gamma),
    Median(Median),
    Rectangles(Rectangles),
    BrightnessGradient(BrightnessGradient),
    LocalGamma(LocalGamma),
    Sharpen(Sharpen),
    /// One of these steps, all equally likely; its own probability then says whether it is applied.
    OneOf(Vec<Step>),
}

/// What is done to one channel: a transform whose numbers are drawn.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "snake_case"))]
pub(super) enum Operation {
    Noise { sigma: f64, seed: u64 },
    Blur { sigmas: [f64; 3] },
    Scale { factor: f64 },
    Shift { by: f64 },
    Contrast { factor: f64, keep_range: bool },
    LowResolution { scales: [f64; 3] },
    Gamma { exponent: f64, inverted: bool },
    Median { size: usize },
    Rectangles { boxes: Vec<BoundingBox> },
    BrightnessGradient { bump: Bump, strength: f64 },
    LocalGamma { bump: Bump, exponent: f64 },
    Sharpen { strength: f64 },
}

impl Intensity {
    /// Calls `push` with every channel, of `channels`, that is changed, and how. `size` is the patch's (Z, Y, X).
    pub(super) fn draw<R: Rng>(&self, channels: usize, size: [usize; 3], rng: &mut R, push: &mut dyn FnMut(usize, Operation)) {
        // Noise has one strength for all channels.
        let noise = if let Self::Noise(noise) = self { noise.draw(rng) } else { 0.0 };
        for channel in 0..channels {
            if !chance(rng, self.channel_probability()) {
                continue;
            }
            let operation = match self {
                Self::Noise(_) => Operation::Noise { sigma: noise, seed: rng.next_u64() },
                Self::Blur(blur) => blur.draw(rng),
                Self::Brightness(brightness) => brightness.draw(rng),
                Self::BrightnessShift(shift) => shift.draw(rng),
                Self::Contrast(contrast) => contrast.draw(rng),
                Self::LowResolution(low_resolution) => low_resolution.draw(rng),
                Self::Gamma(gamma) => gamma.draw(rng),
                Self::Median(median) => median.draw(rng),
                Self::Rectangles(rectangles) => rectangles.draw(size, rng),
                Self::BrightnessGradient(gradient) => gradient.draw(size, rng),
                Self::LocalGamma(gamma) => gamma.draw(size, rng),
                Self::Sharpen(sharpen) => sharpen.draw(rng),
                Self::OneOf(_) => unreachable!("a step draws one of its steps"),
            };
            push(channel, operation);
        }
    }

    /// For each channel, of changing it.
    pub(super) fn channel_probability(&self) -> f64 {
        match self {
            Self::Noise(_) | Self::Brightness(_) | Self::Gamma(_) | Self::OneOf(_) => 1.0,
            Self::Blur(Blur { channel_probability, .. })
            | Self::BrightnessShift(BrightnessShift { channel_probability, .. })
            | Self::Contrast(Contrast { channel_probability, .. })
            | Self::LowResolution(LowResolution { channel_probability, .. })
            | Self::Median(Median { channel_probability, .. })
            | Self::Rectangles(Rectangles { channel_probability, .. })
            | Self::BrightnessGradient(BrightnessGradient { channel_probability, .. })
            | Self::LocalGamma(LocalGamma { channel_probability, .. })
            | Self::Sharpen(Sharpen { channel_probability, .. }) => *channel_probability,
        }
    }
}

impl Operation {
    fn apply(&self, channel: &mut Channel, scratch: &mut Scratch) {
        match self {
            Self::Noise { sigma, seed } => noise::add(channel, *sigma as f32, *seed),
            Self::Blur { sigmas } => blur::blur(channel, *sigmas, scratch),
            Self::Scale { factor } => channel.scale(*factor as f32, 0.0),
            Self::Shift { by } => channel.scale(1.0, *by as f32),
            Self::Contrast { factor, keep_range } => contrast::contrast(channel, *factor as f32, *keep_range),
            Self::LowResolution { scales } => low_resolution::low_resolution(channel, *scales, scratch),
            Self::Gamma { exponent, inverted } => gamma::gamma(channel, *exponent as f32, *inverted),
            Self::Median { size } => median::median(channel, *size, scratch),
            Self::Rectangles { boxes } => rectangles::blank(channel, boxes),
            Self::BrightnessGradient { bump, strength } => local::add_gradient(channel, bump, *strength as f32),
            Self::LocalGamma { bump, exponent } => local::local_gamma(channel, bump, *exponent as f32),
            Self::Sharpen { strength } => sharpen::sharpen(channel, *strength as f32, scratch),
        }
    }
}

/// Carries out `operations`, one after the other, on the channel `values` of size `spatial` (Z, Y, X).
pub(super) fn apply<'a>(operations: impl Iterator<Item = &'a Operation>, values: &mut [f32], spatial: [usize; 3], scratch: &mut Scratch) {
    let mut channel = Channel::new(values, spatial);
    for operation in operations {
        operation.apply(&mut channel, scratch);
    }
    channel.settle();
}
