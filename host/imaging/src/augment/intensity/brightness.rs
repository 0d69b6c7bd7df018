//! Brightness: a factor, or a shift.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::{Operate, Patch, Transform};
use crate::augment::check::{Error, Place};
use crate::augment::random::factor;
use crate::augment::scratch::Scratch;

/// Multiplies each channel by a factor (batchgeneratorsv2 `intensity/brightness.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brightness {
    /// Range of the factor, drawn below and above 1 equally often.
    pub factor: [f64; 2],
}

/// A factor.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct Scale {
    pub factor: f64,
}

impl Transform for Brightness {
    type Drawn = Scale;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, Scale)) {
        patch.each_channel(1.0, rng, push, |rng| Scale { factor: factor(rng, self.factor) });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.range("factor", self.factor, 0.0, 1e3)
    }
}

impl Operate for Scale {
    fn apply(&self, channel: &mut Channel, _scratch: &mut Scratch) {
        channel.scale(self.factor as f32, 0.0);
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

/// A number that is added.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct Shift {
    pub by: f64,
}

impl Transform for BrightnessShift {
    type Drawn = Shift;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, Shift)) {
        patch.each_channel(self.channel_probability, rng, push, |rng| Shift { by: self.sigma * rng.sample::<f64, _>(StandardNormal) });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.probability("channel_probability", self.channel_probability)?;
        place.range("sigma", [0.0, self.sigma], 0.0, 1e3)
    }
}

impl Operate for Shift {
    fn apply(&self, channel: &mut Channel, _scratch: &mut Scratch) {
        channel.scale(1.0, self.by as f32);
    }
}
