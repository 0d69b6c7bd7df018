//! Simulated low resolution.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::augment::nearest::downsample_nearest;
use crate::augment::random::{chance, uniform};
use crate::{Volume, VolumeView};

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

impl LowResolution {
    pub(super) fn apply(&self, image: &mut Volume<f32>, rng: &mut impl Rng) {
        let spatial = image.spatial();
        for c in 0..image.channels() {
            if chance(rng, self.channel_probability) {
                let scale = uniform(rng, self.scale);
                let scales = [if self.in_plane { 1.0 } else { scale }, scale, scale];
                low_resolution(image.channel_mut(c), spatial, scales);
            }
        }
    }
}

/// Down to `round(size * scale)` by picking voxels (nearest-exact), up again linearly (`align_corners=False`).
pub(super) fn low_resolution(channel: &mut [f32], spatial: [usize; 3], scales: [f64; 3]) {
    // The scale passes through f32 in batchgeneratorsv2, and Python rounds halves to even.
    let shape: [usize; 3] = std::array::from_fn(|axis| {
        let size = spatial[axis] as f64 * f64::from(scales[axis] as f32);
        (size.round_ties_even() as usize).max(1)
    });
    let full = VolumeView { shape: [1, spatial[0], spatial[1], spatial[2]], data: &*channel };
    let small = downsample_nearest(full, shape);
    upsample_linear(small.data(), shape, channel, spatial);
}

fn upsample_linear(small: &[f32], shape: [usize; 3], channel: &mut [f32], spatial: [usize; 3]) {
    let [zs, ys, xs] = std::array::from_fn(|axis| neighbours(shape[axis], spatial[axis]));
    let [_, height, width] = shape;
    // First along z and y, on rows that are still short; then along x.
    let mut blended = vec![0.0; width];
    let mut rows = channel.chunks_exact_mut(spatial[2]);
    for z in &zs {
        for y in &ys {
            let row = |z: usize, y: usize| &small[(z * height + y) * width..][..width];
            let corners = [row(z.low, y.low), row(z.low, y.high), row(z.high, y.low), row(z.high, y.high)];
            for (x, value) in blended.iter_mut().enumerate() {
                let low = corners[0][x] * (1.0 - y.fraction) + corners[1][x] * y.fraction;
                let high = corners[2][x] * (1.0 - y.fraction) + corners[3][x] * y.fraction;
                *value = low * (1.0 - z.fraction) + high * z.fraction;
            }
            for (value, x) in rows.next().into_iter().flatten().zip(&xs) {
                *value = blended[x.low] * (1.0 - x.fraction) + blended[x.high] * x.fraction;
            }
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
