//! Up to 128 neighbouring samples of a row of the patch, and where they lie in the volume.
//!
//! Everything is done to a whole chunk before the next thing is: plain loops over short arrays are what the compiler turns into
//! vector instructions, and the arrays stay in the innermost cache.

use std::ops::Range;

use super::{Grid, Outside};
use crate::multiversion::multiversion;

/// Samples of a chunk at most.
pub(super) const CHUNK: usize = 128;

/// Samples in a straight line.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// First voxel in a channel of the patch.
    pub first: usize,
    pub count: usize,
    /// Lowest of the eight voxels around a sample, for (z, y, x); may lie outside.
    pub corner: [[i32; CHUNK]; 3],
    /// Position between it and the highest, 0 to 1.
    pub fraction: [[f32; CHUNK]; 3],
    /// The samples whose eight voxels all exist.
    pub interior: Range<usize>,
    /// The x of the first voxel for which `corner` and `fraction` were set last.
    located: Option<usize>,
}

impl Chunk {
    fn new() -> Self {
        Self { first: 0, count: 0, corner: [[0; CHUNK]; 3], fraction: [[0.0; CHUNK]; 3], interior: 0..0, located: None }
    }

    /// The voxel nearest to a sample; of two equally near ones that with the even index, as `grid_sample` has it.
    pub(super) fn nearest(&self, sample: usize) -> [i32; 3] {
        [0, 1, 2].map(|axis| {
            let (corner, fraction) = (self.corner[axis][sample], self.fraction[axis][sample]);
            corner + i32::from(fraction > 0.5 || (fraction == 0.5 && corner & 1 != 0))
        })
    }

    /// Sets `index` to where the lowest voxels of the interior samples lie in a channel of a box that begins at voxel `lower` of the
    /// volume. The first one is that of the first interior sample.
    ///
    /// # Panics
    /// When a voxel `reach` beyond one of them does not lie in a channel of `length` voxels, or that has 2³² or more. The first never
    /// happens with a box that holds what the patch samples; it is what unchecked reading relies on.
    pub(super) fn indices(&self, lower: [usize; 3], strides: [usize; 3], reach: usize, length: usize, index: &mut [u32; CHUNK]) {
        let index = &mut index[..self.interior.len()];
        // What is longer could not be counted; indices would begin again at 0.
        assert!(length <= u32::MAX as usize, "a channel of {length} voxels at once");
        let highest = fill_indices(&self.corner, self.interior.start, lower, strides, index);
        assert!(index.is_empty() || highest as usize + reach < length, "a sample lies outside the source");
    }
}

impl Grid {
    /// Calls `visit` with every chunk of the patch.
    ///
    /// Rows are visited in bundles, chunk by chunk, since neighbouring rows sample the same cache lines of a volume.
    pub(super) fn for_each_chunk(&self, mut visit: impl FnMut(&Chunk)) {
        /// Rows along z and along y.
        const BUNDLE: usize = 8;
        let [depth, height, width] = self.patch;
        let mut chunk = Chunk::new();
        for z in (0..depth).step_by(BUNDLE) {
            for y in (0..height).step_by(BUNDLE) {
                for x in (0..width).step_by(CHUNK) {
                    for z in z..depth.min(z + BUNDLE) {
                        for y in y..height.min(y + BUNDLE) {
                            chunk.first = (z * height + y) * width + x;
                            chunk.count = (width - x).min(CHUNK);
                            self.locate([z, y, x], &mut chunk);
                            visit(&chunk);
                        }
                    }
                }
            }
        }
    }

    /// Sets the samples of `chunk` to those from `voxel` of the patch on.
    fn locate(&self, voxel: [usize; 3], chunk: &mut Chunk) {
        let count = chunk.count;
        // Some more than there are, which does no harm and keeps loops free of odd ends.
        let rounded = count.next_multiple_of(16);
        // Where axes stay axes, samples differ along x alone, and rows below each other do not.
        let known = self.is_scaled_only() && chunk.located == Some(voxel[2]);
        for (axis, start) in self.position(voxel).into_iter().enumerate() {
            let (corner, fraction) = (&mut chunk.corner[axis][..rounded], &mut chunk.fraction[axis][..rounded]);
            match self.matrix[axis][2] {
                0.0 => {
                    let (first, rest) = split(start);
                    corner.fill(first);
                    fraction.fill(rest);
                }
                step if axis < 2 || !known => locate_axis(start, step, corner, fraction),
                _ => {}
            }
        }
        chunk.located = Some(voxel[2]);
        let is_interior = |sample: usize| {
            (0..3).all(|axis| {
                let last = self.extent.upper[axis] as i32 - if axis == 0 && self.is_flat() { 1 } else { 2 };
                (self.extent.lower[axis] as i32..=last).contains(&chunk.corner[axis][sample])
            })
        };
        // A line enters the volume once, and leaves it once.
        let first = (0..count).find(|sample| is_interior(*sample)).unwrap_or(count);
        let end = (first..count).rev().find(|sample| is_interior(*sample)).map_or(first, |last| last + 1);
        chunk.interior = first..end;
    }

    /// Value of corner `number` (z highest, then y, then x) of a sample; `outside` where the volume has none.
    pub(super) fn corner<T: Copy>(&self, channel: &[T], chunk: &Chunk, sample: usize, number: usize, outside: Outside<T>) -> T {
        let up = [if self.is_flat() { 0 } else { number >> 2 }, number >> 1 & 1, number & 1];
        self.voxel(channel, [0, 1, 2].map(|axis| chunk.corner[axis][sample] + up[axis] as i32), outside)
    }

    /// Elements from a voxel to its upper neighbours along z and y: none along z where nothing is blended along it.
    pub(super) fn upper(&self, strides: [usize; 3]) -> [usize; 2] {
        [if self.is_flat() { 0 } else { strides[0] }, strides[1]]
    }
}

/// Says that element `index` will be needed soon, if there is one. Rows of a turned patch cross those of the volume, and the processor
/// does not see by itself where that leads.
#[inline(always)]
pub(super) fn prefetch<T>(channel: &[T], index: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has SSE. An address outside the channel does no harm: nothing is read, and no fault is raised.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(channel.as_ptr().wrapping_add(index).cast());
    }
}

multiversion! {
    /// The samples `start`, `start + step`, … along one axis: the whole numbers below, and what is left.
    fn locate_axis(start: f64, step: f64, corner: &mut [i32], fraction: &mut [f32]) {
        /// Adding it leaves no room for fractions. Rounding in this way is what all vector units can do.
        const WHOLE: f32 = 12_582_912.0;
        // Whole voxels apart, so that what is left fits the precision of f32.
        let ((base, rest), step) = (split(start), step as f32);
        for (place, (corner, fraction)) in corner.iter_mut().zip(fraction).enumerate() {
            let position = rest + step * place as i32 as f32;
            let rounded = (position + WHOLE) - WHOLE;
            let floor = rounded - if rounded > position { 1.0 } else { 0.0 };
            *corner = base + ((floor + WHOLE).to_bits() as i32 - WHOLE.to_bits() as i32);
            *fraction = position - floor;
        }
    }
}

/// The whole number below, and what is left. Far outside all positions are alike; the clamp keeps them within i32.
#[inline(always)]
fn split(position: f64) -> (i32, f32) {
    let position = position.clamp(-1e8, 1e8);
    let whole = position.floor();
    (whole as i32, (position - whole) as f32)
}

multiversion! {
    /// Returns the highest.
    fn fill_indices(corner: &[[i32; CHUNK]; 3], first: usize, lower: [usize; 3], strides: [usize; 3], index: &mut [u32]) -> u32 {
        let [z, y, x] = corner;
        let (z, y, x) = (&z[first..][..index.len()], &y[first..][..index.len()], &x[first..][..index.len()]);
        let (sz, sy) = (strides[0] as i32, strides[1] as i32);
        let origin = (lower[0] as i32).wrapping_mul(sz).wrapping_add((lower[1] as i32).wrapping_mul(sy)).wrapping_add(lower[2] as i32);
        let mut highest = 0;
        for (i, index) in index.iter_mut().enumerate() {
            let at = z[i].wrapping_mul(sz).wrapping_add(y[i].wrapping_mul(sy)).wrapping_add(x[i]).wrapping_sub(origin) as u32;
            *index = at;
            highest = if at > highest { at } else { highest };
        }
        highest
    }
}
