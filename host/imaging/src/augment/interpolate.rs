//! Patches that are turned and scaled: where an output voxel samples the source, and how.
//!
//! A [`Grid`] says where each output voxel lies in the volume. It is walked row by row; a row is turned into [`Tap`]s once
//! and these serve all channels. Rules are those of `torch.nn.functional.grid_sample` with `align_corners=False` and zero
//! padding: a sample beyond the outermost voxel centres is blended with the padding value.

use super::spatial::Affine;
use crate::{Volume, VolumeView};

/// Where the voxels of a patch lie in a volume, of which the part around them is at hand: the source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Size of the patch in voxels.
    pub patch: [usize; 3],
    /// Position of the patch's centre, in voxels of the volume.
    pub centre: [f64; 3],
    /// From an offset to the patch's centre to one in the volume.
    pub affine: Affine,
    /// Spatial shape of the volume.
    pub spatial: [usize; 3],
    /// Voxel of the volume that is the source's first. The source holds every voxel of the volume that the patch samples.
    pub lower: [usize; 3],
}

/// The eight voxels of the volume around one output voxel.
#[derive(Clone, Copy, Debug, Default)]
struct Tap {
    /// Lowest of the eight, may lie outside.
    corner: [i32; 3],
    /// Position between it and the highest, 0 to 1.
    fraction: [f32; 3],
    /// Index of the lowest within a channel of the source, if all eight lie inside the volume.
    index: Option<usize>,
}

/// Shape of the volume, and how to step through one channel of the source.
///
/// Positions are those in the volume, also where only a part of it is at hand: relative to that part they would be rounded in
/// another way, and the same patch would come out different.
#[derive(Clone, Copy, Debug)]
struct Lattice {
    size: [i32; 3],
    lower: [i32; 3],
    strides: [usize; 3],
    /// Strides from a voxel to its upper neighbours: zero along z when the patch is not turned out of its plane, as samples
    /// then lie exactly on slices. A volume of one slice so takes the quick way, too.
    upper: [usize; 3],
    /// Lowest and highest corner whose eight voxels all lie inside.
    last: [i32; 3],
}

impl Lattice {
    fn new(grid: &Grid, source: [usize; 4]) -> Self {
        let size = grid.spatial.map(|n| n as i32);
        let strides = [source[2] * source[3], source[3], 1];
        let flat = grid.affine.keeps_slices();
        Self {
            size,
            lower: grid.lower.map(|n| n as i32),
            strides,
            upper: [if flat { 0 } else { strides[0] }, strides[1], strides[2]],
            last: [size[0] - if flat { 1 } else { 2 }, size[1] - 2, size[2] - 2],
        }
    }

    fn contains(&self, position: [i32; 3]) -> bool {
        (0..3).all(|axis| (0..self.size[axis]).contains(&position[axis]))
    }

    fn index(&self, position: [i32; 3]) -> usize {
        (0..3).map(|axis| (position[axis] - self.lower[axis]) as usize * self.strides[axis]).sum()
    }

    /// Values at the eight voxels of `tap`, x fastest, then y, then z; `outside` where there is none.
    #[inline(always)]
    fn corners<T: Copy>(&self, channel: &[T], tap: &Tap, outside: T) -> [T; 8] {
        let [up_z, up_y, up_x] = self.upper;
        match tap.index {
            Some(index) => {
                let (low, high) = (&channel[index..], &channel[index + up_z..]);
                [low[0], low[up_x], low[up_y], low[up_y + up_x], high[0], high[up_x], high[up_y], high[up_y + up_x]]
            }
            None => self.corners_at_border(channel, tap, outside),
        }
    }

    #[cold]
    fn corners_at_border<T: Copy>(&self, channel: &[T], tap: &Tap, outside: T) -> [T; 8] {
        let flat = self.upper[0] == 0;
        std::array::from_fn(|k| {
            let step_z = if flat { 0 } else { (k >> 2) as i32 };
            let [z, y, x] = tap.corner;
            let position = [z + step_z, y + (k >> 1 & 1) as i32, x + (k & 1) as i32];
            if self.contains(position) { channel[self.index(position)] } else { outside }
        })
    }
}

impl Grid {
    /// Calls `visit` with every row of the patch: its first voxel within a channel of the patch, and its taps.
    fn for_each_row(&self, lattice: &Lattice, mut visit: impl FnMut(usize, &[Tap])) {
        let [depth, height, width] = self.patch;
        let half = self.patch.map(|n| (n as f64 - 1.0) / 2.0);
        let mut taps = vec![Tap::default(); width];
        for z in 0..depth {
            for y in 0..height {
                let offset = self.affine.apply([z as f64 - half[0], y as f64 - half[1], -half[2]]);
                let start = std::array::from_fn(|axis| self.centre[axis] + offset[axis]);
                fill_taps(&mut taps, lattice, start, self.affine.column(2));
                visit((z * height + y) * width, &taps);
            }
        }
    }

    /// Interpolates linearly between voxels; beyond the volume is `outside`. Same channels as `source`.
    pub(super) fn linear(&self, source: VolumeView<'_, f32>, outside: f32) -> Volume<f32> {
        let lattice = Lattice::new(self, source.shape);
        let voxels = lattice.strides[0] * source.shape[1];
        let mut out = Volume::filled([source.shape[0], self.patch[0], self.patch[1], self.patch[2]], 0.0);
        self.for_each_row(&lattice, |first, taps| {
            for c in 0..source.shape[0] {
                let from = &source.data[c * voxels..(c + 1) * voxels];
                let row = &mut out.channel_mut(c)[first..first + taps.len()];
                for (value, tap) in row.iter_mut().zip(taps) {
                    *value = blend(lattice.corners(from, tap, outside), tap.fraction);
                }
            }
        });
        out
    }

    /// At each voxel the label with the greatest interpolated indicator; see [`vote`]. Beyond the volume is `outside`.
    pub(super) fn labels(&self, source: VolumeView<'_, i16>, outside: i16) -> Volume<i16> {
        let lattice = Lattice::new(self, source.shape);
        let voxels = lattice.strides[0] * source.shape[1];
        let mut out = Volume::filled([source.shape[0], self.patch[0], self.patch[1], self.patch[2]], outside);
        self.for_each_row(&lattice, |first, taps| {
            for c in 0..source.shape[0] {
                let from = &source.data[c * voxels..(c + 1) * voxels];
                let row = &mut out.channel_mut(c)[first..first + taps.len()];
                for (value, tap) in row.iter_mut().zip(taps) {
                    *value = vote(lattice.corners(from, tap, outside), tap);
                }
            }
        });
        out
    }

    /// Which voxels' nearest voxel of the volume exists; one channel.
    pub(super) fn inside(&self) -> Volume<bool> {
        let lattice = Lattice::new(self, [1, self.spatial[0], self.spatial[1], self.spatial[2]]);
        let mut out = Volume::filled([1, self.patch[0], self.patch[1], self.patch[2]], true);
        self.for_each_row(&lattice, |first, taps| {
            for (valid, tap) in out.data_mut()[first..].iter_mut().zip(taps) {
                *valid = tap.index.is_some() || lattice.contains(nearest(tap));
            }
        });
        out
    }
}

/// Positions `start`, `start + step`, …, in voxels of the source.
fn fill_taps(taps: &mut [Tap], lattice: &Lattice, start: [f64; 3], step: [f64; 3]) {
    for (x, tap) in taps.iter_mut().enumerate() {
        let mut inside = true;
        for axis in 0..3 {
            // Beyond one voxel outside, all positions are alike; the clamp keeps them within i32.
            let position = (start[axis] + step[axis] * x as f64).clamp(-2.0, f64::from(lattice.size[axis]) + 1.0);
            // `floor` is a function call on baseline x86-64; a cast is not.
            let truncated = position as i32;
            let corner = truncated - i32::from(f64::from(truncated) > position);
            tap.corner[axis] = corner;
            tap.fraction[axis] = (position - f64::from(corner)) as f32;
            inside &= corner >= 0 && corner <= lattice.last[axis];
        }
        tap.index = inside.then(|| lattice.index(tap.corner));
    }
}

#[inline(always)]
fn blend(v: [f32; 8], [z, y, x]: [f32; 3]) -> f32 {
    let along = |a: f32, b: f32, t: f32| a + (b - a) * t;
    let low = along(along(v[0], v[1], x), along(v[2], v[3], x), y);
    let high = along(along(v[4], v[5], x), along(v[6], v[7], x), y);
    along(low, high, z)
}

/// Label-wise linear vote: the label whose corners weigh most. Where several weigh the same, that of the nearest voxel if
/// it is one of them, else the lowest (batchgeneratorsv2 0.3.6 `spatial/spatial.py`, `seg_tiebreak="nearest"`, which scores
/// in half precision and so sees some more ties). Its cost does not grow with the number of labels.
#[inline(always)]
fn vote(labels: [i16; 8], tap: &Tap) -> i16 {
    if labels.iter().all(|&label| label == labels[0]) { labels[0] } else { count_votes(labels, tap) }
}

fn count_votes(labels: [i16; 8], tap: &Tap) -> i16 {
    /// Rounding of eight weights that sum to one.
    const TIE: f32 = 1e-6;
    let [(z0, z1), (y0, y1), (x0, x1)] = tap.fraction.map(|upper| (1.0 - upper, upper));
    let [w00, w01, w10, w11] = [z0 * y0, z0 * y1, z1 * y0, z1 * y1];
    let weights = [w00 * x0, w00 * x1, w01 * x0, w01 * x1, w10 * x0, w10 * x1, w11 * x0, w11 * x1];
    let step = nearest(tap);
    let own = (0..3).fold(0, |k, axis| 2 * k + (step[axis] - tap.corner[axis]) as usize);

    let mut own_score = 0.0;
    let (mut winner, mut best) = (labels[0], f32::NEG_INFINITY);
    for (k, &label) in labels.iter().enumerate() {
        if labels[..k].contains(&label) {
            continue;
        }
        let score: f32 = labels.iter().zip(weights).map(|(&other, weight)| if other == label { weight } else { 0.0 }).sum();
        if label == labels[own] {
            own_score = score;
        }
        if score > best + TIE || (score > best - TIE && label < winner) {
            (winner, best) = (label, score);
        }
    }
    if own_score > best - TIE { labels[own] } else { winner }
}

/// The voxel nearest to a sample; of two equally near ones that with the even index, as `grid_sample` has it.
fn nearest(tap: &Tap) -> [i32; 3] {
    std::array::from_fn(|axis| {
        let (corner, fraction) = (tap.corner[axis], tap.fraction[axis]);
        corner + i32::from(fraction > 0.5 || (fraction == 0.5 && corner & 1 != 0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote_at(labels: [i16; 8], corner: [i32; 3], fraction: [f32; 3]) -> i16 {
        vote(labels, &Tap { corner, fraction, index: None })
    }

    #[test]
    fn the_label_that_weighs_most_wins() {
        // The nearest voxel has label 5, which weighs 0.216; label 2 is at the three next ones, which weigh 0.432 together.
        assert_eq!(vote_at([5, 2, 2, 7, 2, 7, 7, 9], [0; 3], [0.4; 3]), 2);
        assert_eq!(vote_at([1, 1, 1, 1, 1, 1, 1, 4], [0; 3], [0.9, 0.9, 0.9]), 4);
    }

    #[test]
    fn ties_go_to_the_nearest_voxel_then_to_the_lowest_label() {
        let halves = [3, 1, 3, 1, 3, 1, 3, 1];
        // Halfway between two voxels, the even one counts as nearest.
        assert_eq!(vote_at(halves, [0, 0, 6], [0.0, 0.0, 0.5]), 3);
        assert_eq!(vote_at(halves, [0, 0, 7], [0.0, 0.0, 0.5]), 1);
        // The nearest voxel's label (9) weighs 0.125 only; 4 and 2 weigh 0.375 each.
        assert_eq!(vote_at([9, 4, 4, 4, 2, 2, 2, 7], [0; 3], [0.5; 3]), 2);
    }
}
