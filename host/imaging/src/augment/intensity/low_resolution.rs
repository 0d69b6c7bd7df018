//! Simulated low resolution.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::{Operate, Patch, Transform};
use crate::augment::check::{Error, Place};
use crate::augment::downsample::indices;
use crate::augment::random::uniform;
use crate::augment::scratch::Scratch;
use crate::multiversion::multiversion;

/// Samples some channels more coarsely and interpolates them back (batchgeneratorsv2 `spatial/low_resolution.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LowResolution {
    /// Range of the factor by which the number of voxels along each axis shrinks; one for all axes.
    pub scale: [f64; 2],
    /// For each channel.
    pub channel_probability: f64,
    /// Whether z keeps its resolution: where slices stay slices, see [`Spatial::in_plane`](crate::augment::Spatial::in_plane).
    pub in_plane: bool,
}

/// A factor of the number of voxels along every axis.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct Coarsen {
    pub scales: [f64; 3],
}

impl Transform for LowResolution {
    type Drawn = Coarsen;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, Coarsen)) {
        patch.each_channel(self.channel_probability, rng, push, |rng| {
            let scale = uniform(rng, self.scale);
            Coarsen { scales: [if self.in_plane { 1.0 } else { scale }, scale, scale] }
        });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.probability("channel_probability", self.channel_probability)?;
        place.range("scale", self.scale, 0.01, 1.0)
    }
}

impl Operate for Coarsen {
    fn apply(&self, channel: &mut Channel, scratch: &mut Scratch) {
        low_resolution(channel, self.scales, scratch);
    }
}

/// Down to `round(size * scale)` by picking voxels (nearest-exact), up again linearly (`align_corners=False`).
fn low_resolution(channel: &mut Channel, scales: [f64; 3], scratch: &mut Scratch) {
    let spatial = channel.spatial;
    // The scale passes through f32 in batchgeneratorsv2, and Python rounds halves to even.
    let shape: [usize; 3] = std::array::from_fn(|axis| {
        let size = spatial[axis] as f64 * f64::from(scales[axis] as f32);
        (size.round_ties_even() as usize).max(1)
    });
    let picked: [Vec<usize>; 3] = std::array::from_fn(|axis| indices(spatial[axis], shape[axis]));
    let [zs, ys, xs] = std::array::from_fn(|axis| neighbours(shape[axis], spatial[axis]));
    let [_, height, width] = spatial;
    let values = channel.settle();
    let [coarse, row] = scratch.buffers([shape[0] * shape[1] * width, shape[2]]);
    // Rows are picked, and stretched along x while they are few; then blended along y and z, which needs no picking.
    let mut rows = coarse.chunks_exact_mut(width);
    for &z in &picked[0] {
        for (&y, out) in picked[1].iter().zip(&mut rows) {
            let source = &values[(z * height + y) * width..][..width];
            row.iter_mut().zip(&picked[2]).for_each(|(value, &x)| *value = source[x]);
            out.iter_mut().zip(&xs).for_each(|(value, x)| *value = row[x.low] * (1.0 - x.fraction) + row[x.high] * x.fraction);
        }
    }
    let mut rows = values.chunks_exact_mut(width);
    for z in &zs {
        for (y, out) in ys.iter().zip(&mut rows) {
            let row = |z: usize, y: usize| &coarse[(z * shape[1] + y) * width..][..width];
            blend([row(z.low, y.low), row(z.low, y.high), row(z.high, y.low), row(z.high, y.high)], z.fraction, y.fraction, out);
        }
    }
}

multiversion! {
    fn blend(rows: [&[f32]; 4], z: f32, y: f32, out: &mut [f32]) {
        let rows = rows.map(|row| &row[..out.len()]);
        for (x, value) in out.iter_mut().enumerate() {
            let low = rows[0][x] * (1.0 - y) + rows[1][x] * y;
            let high = rows[2][x] * (1.0 - y) + rows[3][x] * y;
            *value = low * (1.0 - z) + high * z;
        }
    }
}

struct Neighbours {
    low: usize,
    high: usize,
    fraction: f32,
}

/// For each of `to` positions along an axis, the two of `from` that it lies between.
fn neighbours(from: usize, to: usize) -> Vec<Neighbours> {
    let scale = from as f32 / to as f32;
    let between = |i: usize| {
        let position = (scale * (i as f32 + 0.5) - 0.5).max(0.0);
        let low = (position as usize).min(from - 1);
        Neighbours { low, high: (low + 1).min(from - 1), fraction: (position - low as f32).min(1.0) }
    };
    (0..to).map(between).collect()
}
