//! Contrast.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::Operation;
use super::channel::Channel;
use crate::augment::random::factor;

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

impl Contrast {
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Operation {
        Operation::Contrast { factor: factor(rng, self.factor), keep_range: self.keep_range }
    }
}

pub(super) fn contrast(channel: &mut Channel, factor: f32, keep_range: bool) {
    let before = channel.statistics();
    channel.scale(factor, (before.mean - before.mean * f64::from(factor)) as f32);
    if keep_range {
        channel.clip(before.min, before.max);
    }
}
