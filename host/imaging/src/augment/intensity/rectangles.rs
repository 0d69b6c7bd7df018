//! Blank rectangles.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::Operation;
use super::channel::Channel;
use crate::BoundingBox;

/// Fills boxes of some channels with the mean of what they hold (batchgeneratorsv2 `noise/blank_rectangle.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rectangles {
    /// Least and greatest number of boxes.
    pub count: [usize; 2],
    /// Least and greatest size of a box along (z, y, x), in voxels.
    pub size: [[usize; 2]; 3],
    /// For each channel.
    pub channel_probability: f64,
}

impl Rectangles {
    pub(super) fn draw(&self, patch: [usize; 3], rng: &mut impl Rng) -> Operation {
        let boxes = (0..rng.random_range(self.count[0]..=self.count[1])).map(|_| {
            let mut bbox = BoundingBox { lower: [0; 3], upper: [0; 3] };
            for (axis, &[least, greatest]) in self.size.iter().enumerate() {
                let size = rng.random_range(least..=greatest).min(patch[axis]);
                bbox.lower[axis] = rng.random_range(0..=patch[axis] - size);
                bbox.upper[axis] = bbox.lower[axis] + size;
            }
            bbox
        });
        Operation::Rectangles { boxes: boxes.collect() }
    }
}

/// One box after the other, so that those which overlap see what the earlier ones left.
pub(super) fn blank(channel: &mut Channel, boxes: &[BoundingBox]) {
    let [_, height, width] = channel.spatial;
    let values = channel.settle();
    for BoundingBox { lower, upper } in boxes {
        let rows = || (lower[0]..upper[0]).flat_map(|z| (lower[1]..upper[1]).map(move |y| (z * height + y) * width));
        let (mut sum, mut count) = (0.0, 0);
        for row in rows() {
            let values = &values[row + lower[2]..row + upper[2]];
            sum += values.iter().map(|value| f64::from(*value)).sum::<f64>();
            count += values.len();
        }
        let mean = sum / count.max(1) as f64;
        for row in rows() {
            values[row + lower[2]..row + upper[2]].fill(mean as f32);
        }
    }
}
