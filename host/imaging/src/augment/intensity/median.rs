//! Median filter.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::channel::Channel;
use super::{Operate, Patch, Transform};
use crate::augment::check::{Error, Place};
use crate::augment::scratch::Scratch;

/// Replaces every voxel of some channels by the median of a cube around it (batchgeneratorsv2 `noise/median_filter.py`, which is
/// `scipy.ndimage.median_filter`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Median {
    /// Least and greatest number of voxels along a side of the cube.
    pub size: [usize; 2],
    /// For each channel.
    pub channel_probability: f64,
}

/// A cube of so many voxels a side.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in crate::augment) struct TakeMedian {
    pub size: usize,
}

impl Transform for Median {
    type Drawn = TakeMedian;

    fn draw<R: Rng>(&self, patch: Patch, rng: &mut R, push: &mut dyn FnMut(usize, TakeMedian)) {
        patch.each_channel(self.channel_probability, rng, push, |rng| TakeMedian { size: rng.random_range(self.size[0]..=self.size[1]) });
    }

    fn check(&self, place: &Place) -> Result<(), Error> {
        place.probability("channel_probability", self.channel_probability)?;
        place.counts("size", self.size, 15)
    }
}

impl Operate for TakeMedian {
    fn apply(&self, channel: &mut Channel, scratch: &mut Scratch) {
        median(channel, self.size, scratch);
    }
}

/// Cubes of `size` voxels a side, of even ones those with one more below than above. The channel is reflected at the outer faces of its
/// outermost voxels. Of an even number of values the upper of the middle two is taken. An axis of one voxel is left out.
fn median(channel: &mut Channel, size: usize, scratch: &mut Scratch) {
    let spatial = channel.spatial;
    let values = channel.settle();
    let sides = spatial.map(|n| if n > 1 { size } else { 1 });
    let count = sides.iter().product::<usize>();
    let padded = spatial[2] + sides[2] - 1;
    let rows = sides[0] * sides[1];
    let (original, [columns, window]) = scratch.copy_and_buffers(values, [rows * padded, count]);
    let index = |at: usize, k: usize, axis: usize| reflect((at + k) as isize - (sides[axis] / 2) as isize, spatial[axis]);
    for (number, out) in values.chunks_exact_mut(spatial[2]).enumerate() {
        let (z, y) = (number / spatial[1], number % spatial[1]);
        // All rows of the cubes around this one side by side, so that each cube is a run of this.
        for k in 0..rows {
            let source = (index(z, k / sides[1], 0) * spatial[1] + index(y, k % sides[1], 1)) * spatial[2];
            for x in 0..padded {
                columns[x * rows + k] = original[source + index(0, x, 2)];
            }
        }
        for (x, out) in out.iter_mut().enumerate() {
            window.copy_from_slice(&columns[x * rows..][..count]);
            *out = *window.select_nth_unstable_by(count / 2, f32::total_cmp).1;
        }
    }
}

/// Index `i` of an axis of `n` elements that is mirrored at the outer faces of its outermost elements.
fn reflect(i: isize, n: usize) -> usize {
    let n = n as isize;
    let folded = i.rem_euclid(2 * n);
    (if folded >= n { 2 * n - 1 - folded } else { folded }) as usize
}
