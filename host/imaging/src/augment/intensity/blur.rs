//! Gaussian blur.

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::Volume;
use crate::augment::random::{chance, uniform};

/// Blurs some channels, with a width of its own along each axis (batchgeneratorsv2 `noise/gaussian_blur.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blur {
    /// Range of the standard deviation in voxels.
    pub sigma: [f64; 2],
    /// For each channel.
    pub channel_probability: f64,
}

impl Blur {
    pub(super) fn apply(&self, image: &mut Volume<f32>, rng: &mut impl Rng) {
        let spatial = image.spatial();
        for c in 0..image.channels() {
            if chance(rng, self.channel_probability) {
                let sigmas = std::array::from_fn(|_| uniform(rng, self.sigma));
                blur(image.channel_mut(c), spatial, sigmas);
            }
        }
    }
}

/// Convolves `channel` along z, y and x with normalised Gaussians, reflecting it at its borders. An axis of one voxel stays.
pub(super) fn blur(channel: &mut [f32], [depth, height, width]: [usize; 3], sigmas: [f64; 3]) {
    let mut scratch = Vec::new();
    let plane = height * width;
    if depth > 1 {
        convolve_blocks(channel, plane, &kernel(sigmas[0]), &mut scratch);
    }
    if height > 1 {
        let kernel = kernel(sigmas[1]);
        channel.chunks_exact_mut(plane).for_each(|plane| convolve_blocks(plane, width, &kernel, &mut scratch));
    }
    if width > 1 {
        let kernel = kernel(sigmas[2]);
        channel.chunks_exact_mut(width).for_each(|row| convolve_row(row, &kernel, &mut scratch));
    }
}

/// Convolves along the axis whose steps are blocks of `size` elements.
fn convolve_blocks(data: &mut [f32], size: usize, kernel: &[f32], scratch: &mut Vec<f32>) {
    scratch.clear();
    scratch.extend_from_slice(data);
    let blocks = data.len() / size;
    let radius = kernel.len() / 2;
    for (i, out) in data.chunks_exact_mut(size).enumerate() {
        out.fill(0.0);
        for (k, weight) in kernel.iter().enumerate() {
            let block = reflect(i as isize + k as isize - radius as isize, blocks);
            let source = &scratch[block * size..(block + 1) * size];
            for (out, value) in out.iter_mut().zip(source) {
                *out += weight * value;
            }
        }
    }
}

fn convolve_row(row: &mut [f32], kernel: &[f32], scratch: &mut Vec<f32>) {
    let radius = (kernel.len() / 2) as isize;
    let width = row.len() as isize;
    scratch.clear();
    scratch.extend((-radius..0).map(|i| row[reflect(i, row.len())]));
    scratch.extend_from_slice(row);
    scratch.extend((width..width + radius).map(|i| row[reflect(i, row.len())]));
    row.fill(0.0);
    for (k, weight) in kernel.iter().enumerate() {
        for (out, value) in row.iter_mut().zip(&scratch[k..]) {
            *out += weight * value;
        }
    }
}

/// Index `i` of an axis of `n > 1` elements that is mirrored at the centres of its outermost elements.
fn reflect(i: isize, n: usize) -> usize {
    let last = n as isize - 1;
    let folded = i.rem_euclid(2 * last);
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

    #[test]
    fn kernels_are_as_long_as_those_of_batchgenerators() {
        // _round_to_nearest_odd(6 * sigma + 0.5), with Python's rounding of halves to even.
        assert_eq!([0.5, 0.6, 0.75, 0.9, 1.0].map(|sigma| kernel(sigma).len()), [3, 5, 5, 5, 7]);
        assert!((kernel(0.8).iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn constant_images_stay_and_thin_ones_are_reflected_repeatedly() {
        let mut channel = vec![2.5; 2 * 3 * 4];
        blur(&mut channel, [2, 3, 4], [1.0; 3]);
        assert!(channel.iter().all(|v| (v - 2.5).abs() < 1e-6));
        assert_eq!([-3, -2, -1, 0, 1, 2, 3, 4].map(|i| reflect(i, 2)), [1, 0, 1, 0, 1, 0, 1, 0]);
        let mut slice = vec![0.0, 1.0, 0.0, 0.0];
        blur(&mut slice, [1, 1, 4], [1.0; 3]);
        assert!(slice[0] > slice[2], "reflection at voxel centres: the left neighbour sees the peak twice");
    }
}
