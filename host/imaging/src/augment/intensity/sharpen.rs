//! Sharpening.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::{Operate, Patch, Transform};
use crate::augment::check::{Error, Place};
use crate::augment::random::uniform;
use crate::augment::scratch::Scratch;
use crate::multiversion::multiversion;

/// Adds the negative Laplacian to some channels (batchgeneratorsv2 `noise/sharpen.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharpen {
    /// Range of its weight.
    pub strength: [f64; 2],
    /// For each channel.
    pub channel_probability: f64,
}

/// A weight of the Laplacian.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct SharpenBy {
    pub strength: f64,
}

impl Transform for Sharpen {
    type Drawn = SharpenBy;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, SharpenBy)) {
        patch.each_channel(self.channel_probability, rng, push, |rng| SharpenBy { strength: uniform(rng, self.strength) });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.probability("channel_probability", self.channel_probability)?;
        place.range("strength", self.strength, 0.0, 1e3)
    }
}

impl Operate for SharpenBy {
    fn apply(&self, channel: &mut Channel, scratch: &mut Scratch) {
        sharpen(channel, self.strength as f32, scratch);
    }
}

/// `value + strength * Σ (value - neighbour)` over the neighbours along every axis; beyond the border they equal the voxel itself.
fn sharpen(channel: &mut Channel, strength: f32, scratch: &mut Scratch) {
    let [depth, height, width] = channel.spatial;
    let values = channel.settle();
    let (original, []) = scratch.copy_and_buffers(values, []);
    let row = |z: usize, y: usize| &original[(z * height + y) * width..][..width];
    for (number, out) in values.chunks_exact_mut(width).enumerate() {
        let (z, y) = (number / height, number % height);
        let neighbours =
            [row(z.saturating_sub(1), y), row((z + 1).min(depth - 1), y), row(z, y.saturating_sub(1)), row(z, (y + 1).min(height - 1))];
        sharpen_row(row(z, y), neighbours, strength, out);
    }
}

multiversion! {
    fn sharpen_row(row: &[f32], neighbours: [&[f32]; 4], strength: f32, out: &mut [f32]) {
        let width = out.len();
        let across = |x: usize| neighbours.iter().map(|neighbour| row[x] - neighbour[x]).sum::<f32>();
        let at = |x: usize, left: usize, right: usize| row[x] + strength * (across(x) + (row[x] - row[left]) + (row[x] - row[right]));
        for (x, value) in out.iter_mut().enumerate().take(width - 1).skip(1) {
            *value = at(x, x - 1, x + 1);
        }
        out[0] = at(0, 0, 1.min(width - 1));
        out[width - 1] = at(width - 1, width.saturating_sub(2), width - 1);
    }
}
