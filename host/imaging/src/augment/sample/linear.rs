//! Trilinear interpolation, of images and regression targets.

use super::chunk::{CHUNK, Chunk, prefetch};
use super::{Grid, Outside};
use crate::multiversion::multiversion;

/// Two voxels that are neighbours along x.
type Pair = [f32; 2];

impl Grid {
    /// Interpolates linearly between voxels of `source` (C, Z, Y, X); beyond the volume is `outside`. `out` is (C, Z, Y, X), too.
    pub(in crate::augment) fn linear(&self, source: &[f32], outside: f32, out: &mut [f32]) {
        if !self.is_scaled_only() {
            return self.turn(source, outside, out);
        }
        let (patch, voxels) = self.voxels();
        for (number, out) in out.chunks_exact_mut(patch).enumerate() {
            self.scale(&source[number * voxels..(number + 1) * voxels], outside, out);
        }
    }

    fn turn(&self, source: &[f32], outside: f32, out: &mut [f32]) {
        let (patch, voxels) = self.voxels();
        let strides = self.strides();
        let [up_z, up_y] = self.upper(strides);
        let mut index = [0; CHUNK];
        let mut pairs = [[[[0.0; 2]; CHUNK]; 2]; 2];
        self.for_each_chunk(|chunk| {
            let interior = chunk.interior.clone();
            chunk.indices(self.source.lower, strides, up_z + up_y + 1, voxels, &mut index);
            let index = &index[..interior.len()];
            let [z, y, x] = [0, 1, 2].map(|axis| &chunk.fraction[axis][interior.clone()]);
            for (number, out) in out.chunks_exact_mut(patch).enumerate() {
                let (channel, out) = (&source[number * voxels..(number + 1) * voxels], &mut out[chunk.first..][..chunk.count]);
                let [low, high] = &mut pairs;
                // SAFETY: `indices` has checked that the highest of the eight voxels around every sample lies inside a channel.
                unsafe { gather(channel, index, [0, up_y], low) };
                if up_z == 0 {
                    blend_in_plane(low, y, x, &mut out[interior.clone()]);
                } else {
                    // SAFETY: as above.
                    unsafe { gather(channel, index, [up_z, up_z + up_y], high) };
                    blend_pairs(low, high, [z, y, x], &mut out[interior.clone()]);
                }
                for sample in (0..interior.start).chain(interior.end..chunk.count) {
                    out[sample] = self.blend_at_border(channel, chunk, sample, outside);
                }
            }
        });
    }

    /// A sample some or all of whose voxels do not exist.
    fn blend_at_border(&self, channel: &[f32], chunk: &Chunk, sample: usize, outside: f32) -> f32 {
        let v = [0, 1, 2, 3, 4, 5, 6, 7].map(|number| self.corner(channel, chunk, sample, number, Outside::all(outside)));
        let [z, y, x] = [0, 1, 2].map(|axis| chunk.fraction[axis][sample]);
        blend(blend(blend(v[0], v[1], x), blend(v[2], v[3], x), y), blend(blend(v[4], v[5], x), blend(v[6], v[7], x), y), z)
    }
}

/// The rows after this one sample the volume about so many rows on: far enough for memory to answer in time.
const ROWS_AHEAD: usize = 4;

/// Reads the voxels at `index` plus either offset, each with its neighbour along x.
///
/// The gathering instructions of AVX2 and AVX-512 are not quicker than this (measured on Zen 4).
///
/// # Safety
/// For every index and offset, `index + offset + 1` lies inside `channel`.
unsafe fn gather(channel: &[f32], index: &[u32], offsets: [usize; 2], [a, b]: &mut [[Pair; CHUNK]; 2]) {
    let ahead = offsets[0] + ROWS_AHEAD * (offsets[1] - offsets[0]);
    for ((&index, a), b) in index.iter().zip(a).zip(b) {
        prefetch(channel, index as usize + ahead);
        // SAFETY: the caller has promised that all of these lie inside `channel`. A pair needs no more than the alignment of f32.
        let pair = |offset: usize| unsafe { *channel.as_ptr().add(index as usize + offset).cast::<Pair>() };
        (*a, *b) = (pair(offsets[0]), pair(offsets[1]));
    }
}

multiversion! {
    fn blend_in_plane(pairs: &[[Pair; CHUNK]; 2], y: &[f32], x: &[f32], out: &mut [f32]) {
        let n = out.len();
        let (a, b, y, x) = (&pairs[0][..n], &pairs[1][..n], &y[..n], &x[..n]);
        for (i, out) in out.iter_mut().enumerate() {
            *out = blend(blend(a[i][0], a[i][1], x[i]), blend(b[i][0], b[i][1], x[i]), y[i]);
        }
    }
}

multiversion! {
    fn blend_pairs(low: &[[Pair; CHUNK]; 2], high: &[[Pair; CHUNK]; 2], fraction: [&[f32]; 3], out: &mut [f32]) {
        let n = out.len();
        let (a, b, c, d) = (&low[0][..n], &low[1][..n], &high[0][..n], &high[1][..n]);
        let (z, y, x) = (&fraction[0][..n], &fraction[1][..n], &fraction[2][..n]);
        for (i, out) in out.iter_mut().enumerate() {
            let low = blend(blend(a[i][0], a[i][1], x[i]), blend(b[i][0], b[i][1], x[i]), y[i]);
            let high = blend(blend(c[i][0], c[i][1], x[i]), blend(d[i][0], d[i][1], x[i]), y[i]);
            *out = blend(low, high, z[i]);
        }
    }
}

#[inline(always)]
pub(super) fn blend(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}
