//! Blank rectangles.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::{Operate, Patch, Transform};
use crate::BoundingBox;
use crate::augment::check::{Error, Place};
use crate::augment::scratch::Scratch;

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

/// Boxes that are filled.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct Blank {
    pub boxes: Vec<BoundingBox>,
}

impl Transform for Rectangles {
    type Drawn = Blank;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, Blank)) {
        patch.each_channel(self.channel_probability, rng, push, |rng| {
            let boxes = (0..rng.random_range(self.count[0]..=self.count[1])).map(|_| {
                let mut bbox = BoundingBox { lower: [0; 3], upper: [0; 3] };
                for (axis, &[least, greatest]) in self.size.iter().enumerate() {
                    let size = rng.random_range(least..=greatest).min(patch.size[axis]);
                    bbox.lower[axis] = rng.random_range(0..=patch.size[axis] - size);
                    bbox.upper[axis] = bbox.lower[axis] + size;
                }
                bbox
            });
            Blank { boxes: boxes.collect() }
        });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.probability("channel_probability", self.channel_probability)?;
        place.counts("count", self.count, 1000)?;
        self.size.iter().try_for_each(|size| place.counts("size", *size, 100_000))
    }
}

impl Operate for Blank {
    fn apply(&self, channel: &mut Channel, _scratch: &mut Scratch) {
        blank(channel, &self.boxes);
    }
}

/// One box after the other, so that those which overlap see what the earlier ones left.
fn blank(channel: &mut Channel, boxes: &[BoundingBox]) {
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
