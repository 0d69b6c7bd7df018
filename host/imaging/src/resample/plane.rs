//! Resampling of a plane, along its columns and along its rows. Columns along z of a whole volume are such columns, too.

use super::axis::{Axis, Tap};
use super::spline::{LANES, Lines};

/// Memory that is used again and again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// A plane when one of its axes is done.
    half: Vec<f32>,
    /// Some columns along z, and what was made of them.
    pub columns: Vec<f32>,
    pub made: Vec<f32>,
    pub lines: Lines,
}

/// Resamples a plane of `shape` (Y, X) to `out` of `new_shape` along both axes.
pub(super) fn resample(
    plane: &[f32],
    shape: [usize; 2],
    [y, x]: [&Axis; 2],
    new_shape: [usize; 2],
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    let Scratch { half, lines, .. } = scratch;
    match (y, x) {
        (Axis::Same, Axis::Same) => out.copy_from_slice(plane),
        (_, Axis::Same) => along_columns(y, plane, shape[1], out, lines),
        (Axis::Same, _) => along_rows(x, plane, shape[1], out, new_shape[1], lines),
        // The result does not depend on which axis goes first, but the work does: the one that shrinks more should.
        _ if new_shape[0] * shape[1] <= new_shape[1] * shape[0] => {
            half.resize(new_shape[0] * shape[1], 0.0);
            along_columns(y, plane, shape[1], half, lines);
            along_rows(x, half, shape[1], out, new_shape[1], lines);
        }
        _ => {
            half.resize(shape[0] * new_shape[1], 0.0);
            along_rows(x, plane, shape[1], half, new_shape[1], lines);
            along_columns(y, half, new_shape[1], out, lines);
        }
    }
}

/// Resamples along y: every row of `out` is a mixture of rows of `plane`, both `width` wide.
pub(super) fn along_columns(axis: &Axis, plane: &[f32], width: usize, out: &mut [f32], lines: &mut Lines) {
    let row = |y: usize| &plane[y * width..][..width];
    match axis {
        Axis::Same => out.copy_from_slice(plane),
        Axis::Nearest(nearest) => {
            for (out, &y) in out.chunks_exact_mut(width).zip(nearest) {
                out.copy_from_slice(row(y));
            }
        }
        Axis::Linear(taps) => {
            for (out, Tap { index, weight }) in out.chunks_exact_mut(width).zip(taps) {
                for ((out, a), b) in out.iter_mut().zip(row(index[0])).zip(row(index[1])) {
                    *out = weight[0] * a + weight[1] * b;
                }
            }
        }
        Axis::Cubic(taps) => {
            for x in (0..width).step_by(LANES) {
                let count = LANES.min(width - x);
                let voxels = lines.voxels(plane.len() / width);
                for (voxels, row) in voxels.iter_mut().zip(plane.chunks_exact(width)) {
                    voxels[..count].copy_from_slice(&row[x..x + count]);
                }
                lines.filter();
                for (out, tap) in out.chunks_exact_mut(width).zip(taps) {
                    out[x..x + count].copy_from_slice(&lines.mix(tap)[..count]);
                }
            }
        }
    }
}

/// Resamples along x: every row of `plane`, `width` wide, becomes a row of `out`, `new_width` wide.
pub(super) fn along_rows(axis: &Axis, plane: &[f32], width: usize, out: &mut [f32], new_width: usize, lines: &mut Lines) {
    let rows = plane.chunks_exact(width).zip(out.chunks_exact_mut(new_width));
    match axis {
        Axis::Same => out.copy_from_slice(plane),
        Axis::Nearest(nearest) => {
            for (row, out) in rows {
                out.iter_mut().zip(nearest).for_each(|(out, &x)| *out = row[x]);
            }
        }
        Axis::Linear(taps) => {
            for (row, out) in rows {
                for (out, Tap { index, weight }) in out.iter_mut().zip(taps) {
                    *out = weight[0] * row[index[0]] + weight[1] * row[index[1]];
                }
            }
        }
        Axis::Cubic(taps) => {
            for (rows, out) in plane.chunks(LANES * width).zip(out.chunks_mut(LANES * new_width)) {
                // In small tiles, so that neither side is left between one touch of a cache line and the next.
                let voxels = lines.voxels(width);
                for (tile, voxels) in voxels.chunks_mut(LANES).enumerate() {
                    for (lane, row) in rows.chunks_exact(width).enumerate() {
                        for (voxels, &value) in voxels.iter_mut().zip(&row[tile * LANES..]) {
                            voxels[lane] = value;
                        }
                    }
                }
                lines.filter();
                for (tile, taps) in taps.chunks(LANES).enumerate() {
                    let mut made = [[0.0; LANES]; LANES];
                    made.iter_mut().zip(taps).for_each(|(made, tap)| *made = lines.mix(tap));
                    for (lane, row) in out.chunks_exact_mut(new_width).enumerate() {
                        for (out, made) in row[tile * LANES..].iter_mut().zip(&made) {
                            *out = made[lane];
                        }
                    }
                }
            }
        }
    }
}
