//! Resampling of label maps: every label's indicator is interpolated linearly, and the largest value wins
//! (batchgenerators 0.25.5, `resize_segmentation` with `seg_tiebreak='nearest'`).

use super::{axis, separate_axis};
use crate::Volume;

/// Resamples `labels` from `spacing` to the grid of `new_shape` at `new_spacing`; spacings in mm, (z, y, x).
///
/// A tie goes to the label of the nearest voxel if that is among the tied, else to the smallest. Spacings only decide whether one
/// axis takes nearest slices (see the module's page). Channels are independent.
///
/// # Panics
/// When `labels` is empty, or `new_shape` is.
pub fn resample_labels(labels: &Volume<i16>, new_shape: [usize; 3], spacing: [f64; 3], new_spacing: [f64; 3]) -> Volume<i16> {
    let shape = labels.spatial();
    if shape == new_shape {
        return labels.clone();
    }
    let separate = separate_axis(spacing, new_spacing);
    let axes: [Axis; 3] = std::array::from_fn(|axis| Axis::new(shape[axis], new_shape[axis], Some(axis) == separate));
    let mut data = Vec::with_capacity(labels.channels() * new_shape.iter().product::<usize>());
    for c in 0..labels.channels() {
        resample_channel(labels.channel(c), shape, &axes, &mut data);
    }
    Volume::new([labels.channels(), new_shape[0], new_shape[1], new_shape[2]], data)
}

/// What every output voxel of an axis takes from its input voxels.
struct Axis {
    nearest: Vec<usize>,
    pairs: Vec<axis::Pair>,
}

impl Axis {
    fn new(size: usize, new_size: usize, separate: bool) -> Self {
        let nearest = axis::nearest(size, new_size);
        let pairs = if separate {
            nearest.iter().map(|&index| axis::Pair { index: [index, index], weight: [1.0, 0.0] }).collect()
        } else {
            axis::linear(size, new_size)
        };
        Self { nearest, pairs }
    }
}

/// The eight corners are visited and their weights multiplied and added in scipy's order, because a tie is decided by the last bit.
fn resample_channel(labels: &[i16], [_, height, width]: [usize; 3], [along_z, along_y, along_x]: &[Axis; 3], out: &mut Vec<i16>) {
    let row = |z: usize, y: usize| &labels[(z * height + y) * width..][..width];
    for (z, &nearest_z) in along_z.pairs.iter().zip(&along_z.nearest) {
        for (y, &nearest_y) in along_y.pairs.iter().zip(&along_y.nearest) {
            let nearest_row = row(nearest_z, nearest_y);
            let rows: [&[i16]; 4] = std::array::from_fn(|i| row(z.index[i / 2], y.index[i % 2]));
            let weights: [f64; 4] = std::array::from_fn(|i| z.weight[i / 2] * y.weight[i % 2]);
            for (x, &nearest_x) in along_x.pairs.iter().zip(&along_x.nearest) {
                let corners: [i16; 8] = std::array::from_fn(|i| rows[i / 2][x.index[i % 2]]);
                let unanimous = corners.iter().all(|&label| label == corners[0]);
                out.push(if unanimous {
                    corners[0]
                } else {
                    winner(&corners, |corner| weights[corner / 2] * x.weight[corner % 2], nearest_row[nearest_x])
                });
            }
        }
    }
}

/// The label with the largest sum of weights; among equals `nearest`, else the smallest.
fn winner(corners: &[i16; 8], weight: impl Fn(usize) -> f64, nearest: i16) -> i16 {
    let score = |label: i16| (0..8).filter(|&corner| corners[corner] == label).map(&weight).sum::<f64>();
    let mut best = (nearest, score(nearest));
    let mut nearest_is_best = true;
    for &label in corners.iter().filter(|&&label| label != nearest) {
        let candidate = score(label);
        if candidate > best.1 || (candidate == best.1 && !nearest_is_best && label < best.0) {
            best = (label, candidate);
            nearest_is_best = false;
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_made_up_between_two() {
        let labels = Volume::new([1, 1, 1, 4], vec![0, 0, 2, 2]);
        let out = resample_labels(&labels, [1, 1, 9], [1.0; 3], [1.0; 3]);
        assert_eq!(out.data(), [0, 0, 0, 0, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn ties_go_to_the_nearest_label_and_else_to_the_smallest() {
        // Halving: each output voxel lies between two input voxels, and the upper one counts as the nearest.
        let pairs = Volume::new([1, 1, 1, 4], vec![1, 2, 2, 1]);
        assert_eq!(resample_labels(&pairs, [1, 1, 2], [1.0; 3], [1.0; 3]).data(), [2, 1]);
        // 1 and 2 have three corners each; the nearest corner, 3, has lost.
        let block = Volume::new([1, 2, 2, 2], vec![3, 1, 1, 1, 2, 2, 2, 3]);
        assert_eq!(resample_labels(&block, [1, 1, 1], [1.0; 3], [1.0; 3]).data(), [1]);
    }

    #[test]
    fn the_separate_axis_takes_whole_slices() {
        let labels = Volume::new([1, 2, 1, 2], vec![0, 1, 5, 5]);
        let out = resample_labels(&labels, [3, 1, 2], [5.0, 1.0, 1.0], [3.3, 1.0, 1.0]);
        assert_eq!(out.data(), [0, 1, 5, 5, 5, 5]);
    }
}
