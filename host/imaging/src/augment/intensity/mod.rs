//! Transforms of the image alone: they change intensities and leave targets as they are.
//!
//! One file each, and its line in `intensities!`. A [`Transform`] holds the ranges that its parameters are drawn from; its draw makes plain numbers of
//! these, one [`Operate`] for each channel that it changes, which is carried out on a [`Channel`].

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

use super::Step;
use super::check::{Error, Place};
use super::random::chance;
use super::scratch::Scratch;
use channel::Channel;

/// What transforms draw.
#[cfg(test)]
pub(super) mod drawn {
    pub(in super::super) use super::blur::BlurBy;
    pub(in super::super) use super::brightness::{Scale, Shift};
    pub(in super::super) use super::contrast::Stretch;
    pub(in super::super) use super::gamma::Raise;
    pub(in super::super) use super::local::{AddGradient, RaiseLocally};
    pub(in super::super) use super::low_resolution::Coarsen;
    pub(in super::super) use super::median::TakeMedian;
    pub(in super::super) use super::noise::AddNoise;
    pub(in super::super) use super::rectangles::Blank;
    pub(in super::super) use super::sharpen::SharpenBy;
}

pub use local::BumpRange;

/// A transform: ranges that its numbers are drawn from.
pub(super) trait Transform {
    /// Numbers that are drawn.
    type Drawn: Operate;

    /// Calls `push` with every channel of `patch` that is changed, and how.
    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, Self::Drawn));

    /// Refuses ranges that cannot be; `place` names its keys.
    fn check(&self, place: &Place) -> Result<(), Error>;
}

/// What is done to one channel: a transform whose numbers are drawn.
pub(super) trait Operate {
    /// Does it.
    fn apply(&self, channel: &mut Channel, scratch: &mut Scratch);
}

/// A patch that is to be changed.
#[derive(Clone, Copy)]
pub(super) struct Patch {
    /// Of its image.
    pub channels: usize,
    /// (Z, Y, X).
    pub size: [usize; 3],
}

impl Patch {
    /// Draws for each channel whether it is changed, and by what.
    fn each_channel<R: Rng, D>(self, probability: f64, rng: &mut R, push: &mut dyn FnMut(usize, D), draw: impl Fn(&mut R) -> D) {
        for channel in 0..self.channels {
            if chance(rng, probability) {
                push(channel, draw(rng));
            }
        }
    }
}

/// Makes the enumerations of all transforms and of what they draw.
macro_rules! intensities {
    ($($name:ident $key:literal in $module:ident),+ $(,)?) => {
        $(pub use $module::$name;)+

        /// One transform of intensities.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[expect(missing_docs, reason = "each says itself what it does")]
        pub enum Intensity {
            $(#[serde(rename = $key)] $name($name),)+
            /// One of these steps, all equally likely; its own probability then says whether it is applied.
            #[serde(rename = "one_of")]
            OneOf(Vec<Step>),
        }

        /// What is done to one channel.
        #[derive(Clone, Debug, PartialEq)]
        #[cfg_attr(test, derive(Deserialize))]
        pub(super) enum Operation {
            $(#[cfg_attr(test, serde(rename = $key))] $name(<$name as Transform>::Drawn)),+
        }

        impl Intensity {
            /// Calls `push` with every channel, of `channels`, that is changed, and how. `size` is the patch's (Z, Y, X).
            pub(super) fn draw<R: Rng>(&self, channels: usize, size: [usize; 3], rng: &mut R, push: &mut dyn FnMut(usize, Operation)) {
                let patch = Patch { channels, size };
                match self {
                    $(Self::$name(transform) => {
                        transform.draw(patch, rng, &mut |channel, drawn| push(channel, Operation::$name(drawn)));
                    })+
                    Self::OneOf(_) => unreachable!("a step draws one of its steps"),
                }
            }

            /// Refuses what cannot be; `place` is that of its step.
            pub(super) fn check(&self, place: &Place) -> Result<(), Error> {
                match self {
                    $(Self::$name(transform) => transform.check(&place.inner($key)),)+
                    Self::OneOf(steps) => place.inner("one_of").steps(steps),
                }
            }
        }

        impl Operation {
            fn apply(&self, channel: &mut Channel, scratch: &mut Scratch) {
                match self {
                    $(Self::$name(drawn) => drawn.apply(channel, scratch)),+
                }
            }
        }
    };
}

intensities! {
    Noise "noise" in noise,
    Blur "blur" in blur,
    Brightness "brightness" in brightness,
    BrightnessShift "brightness_shift" in brightness,
    Contrast "contrast" in contrast,
    LowResolution "low_resolution" in low_resolution,
    Gamma "gamma" in gamma,
    Median "median" in median,
    Rectangles "rectangles" in rectangles,
    BrightnessGradient "brightness_gradient" in local,
    LocalGamma "local_gamma" in local,
    Sharpen "sharpen" in sharpen,
}

/// Carries out `operations`, one after the other, on the channel `values` of size `spatial` (Z, Y, X).
pub(super) fn apply<'a>(operations: impl Iterator<Item = &'a Operation>, values: &mut [f32], spatial: [usize; 3], scratch: &mut Scratch) {
    let mut channel = Channel::new(values, spatial);
    for operation in operations {
        operation.apply(&mut channel, scratch);
    }
    channel.settle();
}
