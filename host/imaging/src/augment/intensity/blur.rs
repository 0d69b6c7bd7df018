//! Gaussian blur.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::{Operate, Patch, Transform};
use crate::augment::check::{Error, Place};
use crate::augment::random::uniform;
use crate::augment::scratch::Scratch;
use crate::multiversion::multiversion;

/// Blurs some channels (batchgeneratorsv2 `noise/gaussian_blur.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blur {
    /// Range of the standard deviation in voxels.
    pub sigma: [f64; 2],
    /// Whether every axis has a width of its own.
    pub sigma_per_axis: bool,
    /// For each channel.
    pub channel_probability: f64,
}

/// A blur by a Gaussian for every axis.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct BlurBy {
    pub sigmas: [f64; 3],
}

impl Transform for Blur {
    type Drawn = BlurBy;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, BlurBy)) {
        patch.each_channel(self.channel_probability, rng, push, |rng| {
            let mut sigmas = [uniform(rng, self.sigma); 3];
            if self.sigma_per_axis {
                sigmas[1..].fill_with(|| uniform(rng, self.sigma));
            }
            BlurBy { sigmas }
        });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.probability("channel_probability", self.channel_probability)?;
        place.range("sigma", self.sigma, 0.05, 50.0)
    }
}

impl Operate for BlurBy {
    fn apply(&self, channel: &mut Channel, scratch: &mut Scratch) {
        blur(channel, self.sigmas, scratch);
    }
}

/// Convolves along z, y and x with normalised Gaussians, reflecting the channel at its borders. An axis of one voxel stays.
fn blur(channel: &mut Channel, sigmas: [f64; 3], scratch: &mut Scratch) {
    let spatial = channel.spatial;
    let values = channel.settle();
    let plane = spatial[1] * spatial[2];
    let [kernel_z, kernel_y, kernel_x] = std::array::from_fn(|axis| if spatial[axis] > 1 { kernel(sigmas[axis]) } else { vec![1.0] });
    let (original, [first, second, line]) = scratch.copy_and_buffers(values, [plane, plane, spatial[2] + kernel_x.len()]);
    // Slice by slice, so that only the first of three passes leaves the cache.
    for (z, slice) in values.chunks_exact_mut(plane).enumerate() {
        sum_blocks(original, spatial[0], z, &kernel_z, first);
        for (y, row) in second.chunks_exact_mut(spatial[2]).enumerate() {
            sum_blocks(first, spatial[1], y, &kernel_y, row);
        }
        for (row, out) in second.chunks_exact(spatial[2]).zip(slice.chunks_exact_mut(spatial[2])) {
            convolve_row(row, &kernel_x, line, out);
        }
    }
}

/// Sets `out` to the weighted sum of those blocks around block `number` of `source`, which has `count` of them, each as long as `out`.
fn sum_blocks(source: &[f32], count: usize, number: usize, kernel: &[f32], out: &mut [f32]) {
    let (radius, size) = (kernel.len() / 2, out.len());
    let block = |k: usize| reflect(number as isize + k as isize - radius as isize, count) * size;
    sum_shifted(source, kernel, block, out);
}

/// Convolves a row. `line` has room for the row with what is reflected at its ends.
fn convolve_row(row: &[f32], kernel: &[f32], line: &mut [f32], out: &mut [f32]) {
    let (radius, width) = (kernel.len() / 2, row.len());
    line[radius..radius + width].copy_from_slice(row);
    for i in 0..radius {
        line[i] = row[reflect(i as isize - radius as isize, width)];
        line[radius + width + i] = row[reflect((width + i) as isize, width)];
    }
    sum_shifted(line, kernel, |k| k, out);
}

/// Sets `out` to the sum of the parts of `source` that begin at `start` of each number of `kernel`, weighted with that.
fn sum_shifted(source: &[f32], kernel: &[f32], start: impl Fn(usize) -> usize, out: &mut [f32]) {
    /// Longer kernels than this are summed in several rounds.
    const TAPS: usize = 8;
    for (round, weights) in kernel.chunks(TAPS).enumerate() {
        let mut parts = [(0.0, &source[..0]); TAPS];
        for (k, (part, weight)) in parts.iter_mut().zip(weights).enumerate() {
            *part = (*weight, &source[start(round * TAPS + k)..][..out.len()]);
        }
        sum(&parts[..weights.len()], round > 0, out);
    }
}

multiversion! {
    /// Several numbers of the sum are kept in registers while all weights are applied.
    fn sum(parts: &[(f32, &[f32])], add: bool, out: &mut [f32]) {
        const LANES: usize = 64;
        let (chunks, rest) = out.as_chunks_mut::<LANES>();
        let done = chunks.len() * LANES;
        for (number, out) in chunks.iter_mut().enumerate() {
            let mut sum = if add { *out } else { [0.0; LANES] };
            for (weight, part) in parts {
                for (sum, value) in sum.iter_mut().zip(&part[number * LANES..(number + 1) * LANES]) {
                    *sum += weight * value;
                }
            }
            *out = sum;
        }
        for (i, out) in rest.iter_mut().enumerate() {
            let sum = parts.iter().map(|(weight, part)| weight * part[done + i]).sum::<f32>();
            *out = if add { *out + sum } else { sum };
        }
    }
}

/// Index `i` of an axis of `n` elements that is mirrored at the centres of its outermost elements.
fn reflect(i: isize, n: usize) -> usize {
    let last = n as isize - 1;
    if (0..=last).contains(&i) {
        return i as usize;
    }
    let folded = i.rem_euclid((2 * last).max(1));
    (if folded > last { 2 * last - folded } else { folded }) as usize
}

/// Samples of a Gaussian, odd in number and cut where batchgeneratorsv2 cuts them (`truncate=6`), normalised.
fn kernel(sigma: f64) -> Vec<f32> {
    let wanted = sigma * 6.0 + 0.5;
    let rounded = wanted.round_ties_even();
    let length = match rounded as usize {
        odd if odd % 2 == 1 => odd,
        even if wanted >= rounded => even + 1,
        even => even.saturating_sub(1),
    };
    let centre = (length as f64 - 1.0) / 2.0;
    let samples = (0..length).map(|i| (-0.5 * ((i as f64 - centre) / sigma).powi(2)).exp());
    let sum: f64 = samples.clone().sum();
    samples.map(|sample| (sample / sum) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blurred(mut values: Vec<f32>, spatial: [usize; 3]) -> Vec<f32> {
        blur(&mut Channel::new(&mut values, spatial), [1.0; 3], &mut Scratch::default());
        values
    }

    #[test]
    fn kernels_are_as_long_as_those_of_batchgenerators() {
        // _round_to_nearest_odd(6 * sigma + 0.5), with Python's rounding of halves to even.
        assert_eq!([0.5, 0.6, 0.75, 0.9, 1.0].map(|sigma| kernel(sigma).len()), [3, 5, 5, 5, 7]);
        assert!((kernel(0.8).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn constant_images_stay_and_thin_ones_are_reflected_repeatedly() {
        assert!(blurred(vec![2.5; 2 * 3 * 4], [2, 3, 4]).iter().all(|v| (v - 2.5).abs() < 1e-6));
        assert_eq!([-3, -2, -1, 0, 1, 2, 3, 4].map(|i| reflect(i, 2)), [1, 0, 1, 0, 1, 0, 1, 0]);
        let slice = blurred(vec![0.0, 1.0, 0.0, 0.0], [1, 1, 4]);
        assert!(slice[0] > slice[2], "reflection at voxel centres: the left neighbour sees the peak twice");
    }
}
