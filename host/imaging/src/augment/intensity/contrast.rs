//! Contrast.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::{Operate, Patch, Transform};
use crate::augment::check::{Error, Place};
use crate::augment::random::factor;
use crate::augment::scratch::Scratch;

/// Stretches channels around their mean (batchgeneratorsv2 `intensity/contrast.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contrast {
    /// Range of the factor, drawn below and above 1 equally often.
    pub factor: [f64; 2],
    /// Whether values are clipped to the channel's former range.
    pub keep_range: bool,
    /// For each channel.
    pub channel_probability: f64,
}

/// A factor around the mean.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct Stretch {
    pub factor: f64,
    pub keep_range: bool,
}

impl Transform for Contrast {
    type Drawn = Stretch;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, Stretch)) {
        patch.each_channel(self.channel_probability, rng, push, |rng| Stretch {
            factor: factor(rng, self.factor),
            keep_range: self.keep_range,
        });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.probability("channel_probability", self.channel_probability)?;
        place.range("factor", self.factor, 0.0, 1e3)
    }
}

impl Operate for Stretch {
    fn apply(&self, channel: &mut Channel, _scratch: &mut Scratch) {
        contrast(channel, self.factor as f32, self.keep_range);
    }
}

fn contrast(channel: &mut Channel, factor: f32, keep_range: bool) {
    let before = channel.statistics();
    channel.scale(factor, (before.mean - before.mean * f64::from(factor)) as f32);
    if keep_range {
        channel.clip(before.min, before.max);
    }
}
