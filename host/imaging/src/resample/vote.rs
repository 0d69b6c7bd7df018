//! Label maps as nnU-Net's `resample_torch_fornnunet` resamples them (`resample_torch.py`): the arithmetic of torch's `interpolate` on a CPU,
//! in 32 bits, since a vote among labels is decided by the last bit.

use super::Order;
use super::axis::{Axis, Tap};
use crate::Volume;

/// Which label a voxel between several gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vote {
    /// The one with the largest share, as batchgenerators counts shares: nnU-Net's default resampling.
    Share,
    /// The one with the largest share in 16 bits, the smallest label of equal ones.
    RoundedShare,
    /// The one with more than one half, else 0 (`memefficient_seg_resampling`).
    Majority,
}

/// What a share of one is before it is rounded to 16 bits.
const WHOLE: f32 = 1000.0;

/// Resamples every channel of `labels` to `new_shape` with this order along each axis: linear, or the nearest voxel.
pub(super) fn resample(labels: &Volume<i16>, new_shape: [usize; 3], orders: [Order; 3], vote: Vote) -> Volume<i16> {
    let [_, height, width] = labels.spatial();
    let axes: [Vec<Tap<2>>; 3] = std::array::from_fn(|axis| taps(labels.spatial()[axis], new_shape[axis], orders[axis]));
    let mut data = Vec::with_capacity(labels.channels() * new_shape.iter().product::<usize>());
    for c in 0..labels.channels() {
        let channel = labels.channel(c);
        let row = |z: usize, y: usize| &channel[(z * height + y) * width..][..width];
        for z in &axes[0] {
            for y in &axes[1] {
                let rows = [0, 1].map(|i| [0, 1].map(|j| row(z.index[i], y.index[j])));
                data.extend(axes[2].iter().map(|x| {
                    let corners = rows.map(|rows| rows.map(|row| x.index.map(|x| row[x])));
                    let first = corners[0][0][0];
                    if corners.as_flattened().as_flattened().iter().all(|label| *label == first) {
                        return first;
                    }
                    elect(corners, [z.weight, y.weight, x.weight], vote)
                }));
            }
        }
    }
    Volume::new([labels.channels(), new_shape[0], new_shape[1], new_shape[2]], data)
}

/// The label that wins among the corners (z, y, x) around a voxel.
fn elect(corners: [[[i16; 2]; 2]; 2], [z, y, x]: [[f32; 2]; 3], vote: Vote) -> i16 {
    let mut labels = [0; 8];
    labels.copy_from_slice(corners.as_flattened().as_flattened());
    labels.sort_unstable();
    let share = |label: i16, whole: f32| {
        let mix = |weight: [f32; 2], values: [f32; 2]| weight[0] * values[0] + weight[1] * values[1];
        mix(z, corners.map(|plane| mix(y, plane.map(|row| mix(x, row.map(|corner| if corner == label { whole } else { 0.0 }))))))
    };
    let (mut winner, mut largest) = (0, f32::NEG_INFINITY);
    for (place, &label) in labels.iter().enumerate() {
        if place > 0 && labels[place - 1] == label {
            continue;
        }
        match vote {
            Vote::Majority if share(label, 1.0) > 0.5 => winner = label,
            Vote::Majority => {}
            _ => {
                let share = half::f16::from_f32(share(label, WHOLE)).to_f32();
                if share > largest {
                    (winner, largest) = (label, share);
                }
            }
        }
    }
    winner
}

/// What every output voxel of an axis is made of; where it is two input voxels, as torch mixes them.
fn taps(size: usize, new_size: usize, order: Order) -> Vec<Tap<2>> {
    if order != Order::Linear || size == new_size {
        let axis = Axis::new(size, new_size, order);
        return (0..new_size).map(|output| axis.tap(output)).collect();
    }
    let scale = size as f32 / new_size as f32;
    let tap = |output: usize| {
        let position = (scale * (output as f32 + 0.5) - 0.5).max(0.0);
        let lower = (position as usize).min(size - 1);
        let upper_weight = (position - lower as f32).clamp(0.0, 1.0);
        Tap { index: [lower, (lower + 1).min(size - 1)], weight: [1.0 - upper_weight, upper_weight] }
    };
    (0..new_size).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_shares_the_smallest_label_wins_or_none_has_a_majority() {
        let labels = Volume::new([1, 1, 1, 2], vec![3, 1]);
        let resampled = |vote| resample(&labels, [1, 1, 5], [Order::Linear; 3], vote).into_data();
        assert_eq!(resampled(Vote::RoundedShare), [3, 3, 1, 1, 1]);
        assert_eq!(resampled(Vote::Majority), [3, 3, 0, 1, 1]);
        // A share that is larger by less than 16 bits can tell is no larger.
        assert_eq!(elect([[[1, 2], [1, 2]], [[1, 2], [1, 2]]], [[1.0, 0.0], [1.0, 0.0], [0.49999, 0.50001]], Vote::RoundedShare), 1);
    }
}
