//! Resampling of label maps: every label's indicator is interpolated linearly, and the largest value wins
//! (batchgenerators 0.25.5, `resize_segmentation` with `seg_tiebreak='nearest'`).
//!
//! Labels lie in areas, so a row of output voxels is walked in runs: as long as all input rows around it hold one label, so does it,
//! and only where they differ is there a vote.

use super::axis::{self, Pair};
use super::{Order, Rule, Vote, vote};
use crate::Volume;

/// Resamples `labels` from `spacing` to the grid of `new_shape` at `new_spacing`; spacings in mm, (z, y, x).
///
/// A tie goes to the label of the nearest voxel if that is among the tied, else to the smallest. Spacings only decide whether an axis is
/// separate (see the module's page). Along a separate axis the nearest plane counts: also where `order_z` is linear, since of two planes
/// the nearer has the larger weight. Half-way between two planes that differ, linear `order_z` takes neither and leaves 0, as nnU-Net does
/// (`default_resampling.py`: a label wins with more than half). Channels are independent. Rules with another [`Vote`] than by share go by
/// what that says.
///
/// # Panics
/// When `labels` is empty, or `new_shape` is, or an order of the rule is cubic, which is for images.
pub fn resample_labels(labels: &Volume<i16>, new_shape: [usize; 3], spacing: [f64; 3], new_spacing: [f64; 3], rule: Rule) -> Volume<i16> {
    assert!(rule.order != Order::Cubic && rule.order_z != Order::Cubic, "labels are resampled with order 0 or 1");
    let shape = labels.spatial();
    if shape == new_shape {
        return labels.clone();
    }
    let separate = rule.separate_axis(spacing, new_spacing);
    if rule.vote != Vote::Share {
        let orders = std::array::from_fn(|axis| if Some(axis) == separate { rule.order_z } else { rule.order });
        return vote::resample(labels, new_shape, orders, rule.vote);
    }
    let mut axes: [Axis; 3] = std::array::from_fn(|axis| {
        let order = if Some(axis) == separate { Order::Nearest } else { rule.order };
        Axis::new(shape[axis], new_shape[axis], order)
    });
    let mut resampled = resample_along(labels, new_shape, &axes);
    if let (Some(axis), Order::Linear) = (separate, rule.order_z) {
        let halfway = halfway(shape[axis], new_shape[axis]);
        for (place, planes) in &halfway {
            // Of the two planes, the one that was not taken.
            let nearest = axes[axis].nearest[*place];
            axes[axis].set(*place, planes[usize::from(planes[0] == nearest)]);
        }
        if !halfway.is_empty() {
            let other = resample_along(labels, new_shape, &axes);
            forget_where_they_differ(&mut resampled, &other, axis, &halfway);
        }
    }
    resampled
}

fn resample_along(labels: &Volume<i16>, new_shape: [usize; 3], axes: &[Axis; 3]) -> Volume<i16> {
    let mut data = Vec::with_capacity(labels.channels() * new_shape.iter().product::<usize>());
    for c in 0..labels.channels() {
        resample_channel(labels.channel(c), labels.spatial(), axes, &mut data);
    }
    Volume::new([labels.channels(), new_shape[0], new_shape[1], new_shape[2]], data)
}

/// Output planes that lie half-way between two input planes, and these.
fn halfway(size: usize, new_size: usize) -> Vec<(usize, [usize; 2])> {
    let pairs = axis::linear(size, new_size).into_iter().enumerate();
    pairs.filter(|(_, pair)| pair.weight == [0.5, 0.5] && pair.index[0] != pair.index[1]).map(|(place, pair)| (place, pair.index)).collect()
}

/// Sets voxels of `resampled` in planes half-way between two others to 0 where `other`, made of the other one of these, differs.
fn forget_where_they_differ(resampled: &mut Volume<i16>, other: &Volume<i16>, axis: usize, halfway: &[(usize, [usize; 2])]) {
    let [_, z, y, x] = resampled.shape();
    let (size, stride) = ([z, y, x][axis], [y * x, x, 1][axis]);
    let mut is_halfway = vec![false; size];
    halfway.iter().for_each(|(place, _)| is_halfway[*place] = true);
    for (i, (label, other)) in resampled.data_mut().iter_mut().zip(other.data()).enumerate() {
        if is_halfway[i / stride % size] && label != other {
            *label = 0;
        }
    }
}

/// What every output voxel of an axis takes from its input voxels.
struct Axis {
    nearest: Vec<usize>,
    pairs: Vec<Pair>,
}

impl Axis {
    /// Makes the output voxel at `place` that of one input voxel.
    fn set(&mut self, place: usize, input: usize) {
        self.nearest[place] = input;
        self.pairs[place] = Pair::single(input);
    }

    fn new(size: usize, new_size: usize, order: Order) -> Self {
        let nearest = axis::nearest(size, new_size);
        let pairs = match order {
            Order::Nearest => nearest.iter().copied().map(Pair::single).collect(),
            Order::NearestExact => axis::nearest_exact(size, new_size).into_iter().map(Pair::single).collect(),
            Order::Linear => axis::linear(size, new_size),
            Order::Cubic => unreachable!("labels are not interpolated by splines"),
        };
        Self { nearest, pairs }
    }
}

fn resample_channel(labels: &[i16], [_, height, width]: [usize; 3], [along_z, along_y, along_x]: &[Axis; 3], out: &mut Vec<i16>) {
    let row = |z: usize, y: usize| &labels[(z * height + y) * width..][..width];
    let plane = along_y.pairs.len() * along_x.pairs.len();
    let mut previous = None;
    for (z, &nearest_z) in along_z.pairs.iter().zip(&along_z.nearest) {
        // Output planes that are made of the same input planes alike need to be made once.
        if previous == Some(z) {
            out.extend_from_within(out.len() - plane..);
            continue;
        }
        previous = Some(z);
        for (y, &nearest_y) in along_y.pairs.iter().zip(&along_y.nearest) {
            let rows = Rows::new(row, z, y);
            rows.resample(row(nearest_z, nearest_y), along_x, out);
        }
    }
}

/// The rows of input voxels around a row of output voxels, in scipy's order, with their weights.
struct Rows<'a> {
    rows: [(&'a [i16], f64); 4],
    count: usize,
}

impl<'a> Rows<'a> {
    fn new(row: impl Fn(usize, usize) -> &'a [i16], z: &Pair, y: &Pair) -> Self {
        let mut rows = Self { rows: [(&[], 0.0); 4], count: 0 };
        for i in 0..if z.is_single() { 1 } else { 2 } {
            for j in 0..if y.is_single() { 1 } else { 2 } {
                rows.rows[rows.count] = (row(z.index[i], y.index[j]), z.weight[i] * y.weight[j]);
                rows.count += 1;
            }
        }
        rows
    }

    fn iter(&self) -> impl Iterator<Item = (&'a [i16], f64)> {
        self.rows[..self.count].iter().copied()
    }

    /// Appends the output voxels of this row to `out`.
    fn resample(&self, nearest: &[i16], along_x: &Axis, out: &mut Vec<i16>) {
        let pairs = along_x.pairs.as_slice();
        let mut x = 0;
        while let Some(&Pair { index: [lower, upper], weight }) = pairs.get(x) {
            let label = nearest[along_x.nearest[x]];
            let end = self.run_end(lower, label);
            if upper < end {
                let run = pairs[x..].partition_point(|pair| pair.index[1] < end);
                out.resize(out.len() + run, label);
                x += run;
            } else {
                out.push(self.vote([lower, upper], weight, label));
                x += 1;
            }
        }
    }

    /// The first place from `start` on where some row does not hold `label`.
    fn run_end(&self, start: usize, label: i16) -> usize {
        /// Voxels that are compared at a time.
        const STEP: usize = 32;
        let width = self.rows[0].0.len();
        let all_hold = |range: std::ops::Range<usize>| {
            self.iter().all(|(row, _)| row[range.clone()].iter().fold(true, |same, &other| same & (other == label)))
        };
        let mut end = start;
        while end + STEP <= width && all_hold(end..end + STEP) {
            end += STEP;
        }
        while end < width && all_hold(end..end + 1) {
            end += 1;
        }
        end
    }

    /// The label with the largest sum of weights; among equals `nearest`, else the smallest. Weights are multiplied and added in
    /// scipy's order, because a tie is decided by the last bit.
    fn vote(&self, columns: [usize; 2], weights: [f64; 2], nearest: i16) -> i16 {
        let mut scores = [(nearest, 0.0); 9];
        let mut count = 1;
        for (row, row_weight) in self.iter() {
            for (x, weight) in columns.into_iter().zip(weights) {
                let label = row[x];
                let known = scores[..count].iter().position(|(other, _)| *other == label);
                let place = known.unwrap_or_else(|| {
                    scores[count] = (label, 0.0);
                    count += 1;
                    count - 1
                });
                scores[place].1 += row_weight * weight;
            }
        }
        let mut best = scores[0];
        let mut nearest_is_best = true;
        for &(label, score) in &scores[1..count] {
            if score > best.1 || (score == best.1 && !nearest_is_best && label < best.0) {
                best = (label, score);
                nearest_is_best = false;
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_label_is_made_up_between_two() {
        let labels = Volume::new([1, 1, 1, 4], vec![0, 0, 2, 2]);
        let out = resample_labels(&labels, [1, 1, 9], [1.0; 3], [1.0; 3], Rule::LINEAR);
        assert_eq!(out.data(), [0, 0, 0, 0, 2, 2, 2, 2, 2]);
    }

    #[test]
    fn ties_go_to_the_nearest_label_and_else_to_the_smallest() {
        // Halving: each output voxel lies between two input voxels, and the upper one counts as the nearest.
        let pairs = Volume::new([1, 1, 1, 4], vec![1, 2, 2, 1]);
        assert_eq!(resample_labels(&pairs, [1, 1, 2], [1.0; 3], [1.0; 3], Rule::LINEAR).data(), [2, 1]);
        // 1 and 2 have three corners each; the nearest corner, 3, has lost.
        let block = Volume::new([1, 2, 2, 2], vec![3, 1, 1, 1, 2, 2, 2, 3]);
        assert_eq!(resample_labels(&block, [1, 1, 1], [1.0; 3], [1.0; 3], Rule::LINEAR).data(), [1]);
    }

    #[test]
    fn the_separate_axis_takes_whole_slices() {
        let labels = Volume::new([1, 2, 1, 2], vec![0, 1, 5, 5]);
        // What nnU-Net's `resample_data_or_seg` returns for either `order_z`. Half-way between two slices, neither wins with more than half.
        for (order_z, expected) in [(Order::Nearest, [0, 1, 5, 5, 5, 5]), (Order::Linear, [0, 1, 0, 0, 5, 5])] {
            let out = resample_labels(&labels, [3, 1, 2], [5.0, 1.0, 1.0], [3.3, 1.0, 1.0], Rule { order_z, ..Rule::LINEAR });
            assert_eq!(out.data(), expected);
        }
        // Where the two agree there is nothing to lose; and other axes than z are separate, too.
        let labels = Volume::new([1, 1, 2, 2], vec![2, 1, 5, 1]);
        let out = resample_labels(&labels, [1, 3, 2], [1.0, 5.0, 1.0], [1.0, 3.3, 1.0], Rule { order_z: Order::Linear, ..Rule::LINEAR });
        assert_eq!(out.data(), [2, 1, 0, 1, 5, 1]);
    }

    #[test]
    fn a_long_run_ends_where_any_row_changes() {
        let mut labels = Volume::filled([1, 2, 2, 100], 3);
        labels.data_mut()[3 * 100 + 70] = 4;
        let out = resample_labels(&labels, [2, 4, 100], [1.0; 3], [1.0; 3], Rule::LINEAR);
        let changed: Vec<usize> = (0..800).filter(|&i| out.data()[i] == 4).collect();
        assert_eq!(changed, [670, 770]);
    }
}
