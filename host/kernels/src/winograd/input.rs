//! Tiles of a map, transformed: Bᵀ d along every axis, of overlapping tiles that reach one voxel beyond their outputs on either side.
//!
//! A strip of tiles along x is transformed column by column along z and y, into `columns`, and then tile by tile along x: what neighbours along x
//! share is transformed once. The map's pending activation is applied as it is read; beyond its border there are zeros.

use super::transform::{MOST_POINTS, input, points};
use super::{Layout, Winograd};
use crate::map::{Activation, BLOCK, Block};
use crate::simd::{V, load, store, zero};
use std::ops::Range;

/// Tiles of a strip at most.
const STRIP: usize = 10;

/// Floats from one row of columns to the next.
const ROW: usize = (STRIP * 4 + 2) * BLOCK;

/// Floats of working memory: the columns of a strip, for all rows of a tile.
pub(super) const SCRATCH: usize = MOST_POINTS * MOST_POINTS * ROW;

/// Tiles beside each other along x.
struct Strip {
    /// Voxel (z, y, x) where the outputs of the first tile begin.
    start: [usize; 3],
    tiles: usize,
}

impl Winograd {
    /// Transforms `tiles` of `block`. The first tile's first frequency goes to `to`.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA. From `to` on, all frequencies of these tiles can be written as `layout` says, and belong to the caller alone.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn transform<const Z: usize, const Y: usize, const X: usize>(
        &self,
        block: &Block,
        tiles: Range<usize>,
        to: *mut f32,
        layout: Layout,
        columns: &mut [f32],
    ) {
        let tiling = &self.tiling;
        assert!(block.data.len() >= tiling.size.iter().product::<usize>() * BLOCK && columns.len() >= SCRATCH);
        let mut tile = tiles.start;
        while tile < tiles.end {
            let [z, y, x] = tiling.tile(tile);
            let count = (tiling.tiles[2] - x).min(tiles.end - tile).min(STRIP);
            let strip = Strip { start: [z * Z, y * Y, x * X], tiles: count };
            // SAFETY: the strip lies in the map, whose length was checked, as was that of the columns; tile `tile` goes that many places behind the
            // first one.
            unsafe {
                self.columns::<Z, Y, X>(block, &strip, columns.as_mut_ptr());
                rows::<Z, Y, X>(columns.as_ptr(), count, to.add((tile - tiles.start) * BLOCK), layout);
            }
            tile += count;
        }
    }

    /// Bᵀ along z and y of every column of a strip.
    ///
    /// # Safety
    /// The strip lies in the map that `block` has whole; `columns` can be written as far as [`SCRATCH`].
    #[target_feature(enable = "avx2,fma")]
    unsafe fn columns<const Z: usize, const Y: usize, const X: usize>(&self, block: &Block, strip: &Strip, columns: *mut f32) {
        let [depth, height, width] = self.tiling.size;
        let [z0, y0, x0] = strip.start;
        let mut rows = [[None; MOST_POINTS]; MOST_POINTS];
        let mut is_inside = true;
        for (i, rows) in rows.iter_mut().enumerate().take(points(Z)) {
            for (j, row) in rows.iter_mut().enumerate().take(points(Y)) {
                // A voxel before the border wraps around to a large number.
                let (z, y) = (z0.wrapping_add(i).wrapping_sub(border(Z)), y0.wrapping_add(j).wrapping_sub(border(Y)));
                if z < depth && y < height {
                    *row = Some((z * height + y) * width * BLOCK);
                } else {
                    is_inside = false;
                }
            }
        }
        let activation = Activation::of(block);
        for column in 0..strip.tiles * X + 2 * border(X) {
            let x = (x0 + column).wrapping_sub(border(X));
            // SAFETY: a row in `rows` is one of the map, and `x` is checked to lie in it; there are at most 6 × 6 rows of columns, each as long as
            // a strip and its border.
            unsafe {
                let to = columns.add(column * BLOCK);
                if x >= width {
                    for row in 0..points(Z) * points(Y) {
                        store(to.add(row * ROW), zero());
                    }
                } else {
                    let from = block.data.as_ptr().add(x * BLOCK);
                    if is_inside {
                        column_of::<Z, Y>(|i, j| activation.apply(load(from.add(rows[i][j].unwrap_or(0)))), to);
                    } else {
                        let value = |i: usize, j: usize| rows[i][j].map_or(zero(), |row| activation.apply(load(from.add(row))));
                        column_of::<Z, Y>(value, to);
                    }
                }
            }
        }
    }
}

/// Voxels that a tile reaches beyond its outputs.
const fn border(outputs: usize) -> usize {
    if outputs == 1 { 0 } else { 1 }
}

/// Bᵀ along z and y of one column, whose row (z, y) has `value`.
///
/// # Safety
/// Every row of the column, [`ROW`] apart, can be written from `to` on.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn column_of<const Z: usize, const Y: usize>(value: impl Fn(usize, usize) -> V, to: *mut f32) {
    let mut along_z = [[zero(); MOST_POINTS]; MOST_POINTS];
    for j in 0..points(Y) {
        let mut column = [zero(); MOST_POINTS];
        for (i, entry) in column.iter_mut().enumerate().take(points(Z)) {
            *entry = value(i, j);
        }
        let column = input::<Z>(&column);
        for i in 0..points(Z) {
            along_z[i][j] = column[i];
        }
    }
    for (i, row) in along_z.iter().enumerate().take(points(Z)) {
        let row = input::<Y>(row);
        for (j, entry) in row.iter().enumerate().take(points(Y)) {
            // SAFETY: the caller's promise.
            unsafe { store(to.add((i * points(Y) + j) * ROW), *entry) };
        }
    }
}

/// Bᵀ along x of every tile of a strip.
///
/// # Safety
/// `columns` has been written for `count` tiles; from `to` on, all their frequencies can be written.
#[target_feature(enable = "avx2,fma")]
unsafe fn rows<const Z: usize, const Y: usize, const X: usize>(columns: *const f32, count: usize, to: *mut f32, layout: Layout) {
    for row in 0..points(Z) * points(Y) {
        for tile in 0..count {
            // SAFETY: the caller's promise.
            unsafe {
                let (from, to) = (columns.add(row * ROW + tile * X * BLOCK), to.add(row * points(X) * layout.frequency + tile * BLOCK));
                let mut values = [zero(); MOST_POINTS];
                for (k, entry) in values.iter_mut().enumerate().take(points(X)) {
                    *entry = load(from.add(k * BLOCK));
                }
                let values = input::<X>(&values);
                for (k, entry) in values.iter().enumerate().take(points(X)) {
                    store(to.add(k * layout.frequency), *entry);
                }
            }
        }
    }
}
