//! Products, transformed back: Aᵀ x along every axis, written to the map and summed.

use super::transform::{MOST_OUTPUTS, MOST_POINTS, output, points};
use super::{Layout, Winograd};
use crate::map::BLOCK;
use crate::moments::Moments;
use crate::simd::{V, load, store, zero};
use std::ops::Range;

impl Winograd {
    /// Writes the outputs of `tiles`, whose first frequency of the first tile is at `from`, to the block of a map that begins at `to`.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA. From `from` on, all frequencies of these tiles can be read as `layout` says. From `to` on, there is a whole
    /// block of the map, in which nobody else reads or writes the outputs of these tiles.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn untransform<const Z: usize, const Y: usize, const X: usize>(
        &self,
        from: *const f32,
        layout: Layout,
        tiles: Range<usize>,
        to: *mut f32,
        moments: &mut Moments,
    ) {
        let [depth, height, width] = self.tiling.size;
        for index in tiles.clone() {
            let [z0, y0, x0] = self.tiling.tile(index);
            let [z0, y0, x0] = [z0 * Z, y0 * Y, x0 * X];
            let is_whole = z0 + Z <= depth && y0 + Y <= height && x0 + X <= width;
            // SAFETY: the caller's promise for `from`. Outputs are written inside the map only: a whole tile lies in it, and of others, outputs
            // beyond the border are left out.
            unsafe {
                let outputs = outputs::<Z, Y, X>(from.add((index - tiles.start) * BLOCK), layout);
                let at = |i: usize, j: usize, k: usize| to.add((((z0 + i) * height + y0 + j) * width + x0 + k) * BLOCK);
                for (j, outputs) in outputs.iter().enumerate().take(Y) {
                    for (k, column) in outputs.iter().enumerate().take(X) {
                        let column = output::<Z>(column);
                        if is_whole {
                            for (i, value) in column.iter().enumerate().take(Z) {
                                store(at(i, j, k), *value);
                            }
                            moments.add(column.into_iter().take(Z));
                        } else if y0 + j < height && x0 + k < width {
                            let inside = Z.min(depth - z0);
                            for (i, value) in column.iter().enumerate().take(inside) {
                                store(at(i, j, k), *value);
                            }
                            moments.add(column.into_iter().take(inside));
                        }
                    }
                }
            }
        }
    }
}

/// Aᵀ along x and y: by output y, x and frequency along z.
///
/// # Safety
/// All frequencies of the tile can be read from `from` on.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn outputs<const Z: usize, const Y: usize, const X: usize>(
    from: *const f32,
    layout: Layout,
) -> [[[V; MOST_POINTS]; MOST_OUTPUTS]; MOST_OUTPUTS] {
    let mut outputs = [[[zero(); MOST_POINTS]; MOST_OUTPUTS]; MOST_OUTPUTS];
    for i in 0..points(Z) {
        let mut along_x = [[zero(); MOST_POINTS]; MOST_OUTPUTS];
        for j in 0..points(Y) {
            let mut row = [zero(); MOST_POINTS];
            for (k, value) in row.iter_mut().enumerate().take(points(X)) {
                // SAFETY: the caller's promise.
                *value = unsafe { load(from.add(((i * points(Y) + j) * points(X) + k) * layout.frequency)) };
            }
            let row = output::<X>(&row);
            for k in 0..X {
                along_x[k][j] = row[k];
            }
        }
        for (k, column) in along_x.iter().enumerate().take(X) {
            let column = output::<Y>(column);
            for j in 0..Y {
                outputs[j][k][i] = column[j];
            }
        }
    }
    outputs
}
