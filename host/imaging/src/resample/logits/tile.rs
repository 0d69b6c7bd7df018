//! Tiles of the output: some rows of some planes, through which class after class goes.
//!
//! A plane of a tile is blended of two input planes first, its rows are lengthened then, and two of these are blended to an output row:
//! in this order, growing makes the least work, as nearly every export does.

use std::sync::{Mutex, PoisonError};

use super::decision::Decision;
use crate::VolumeView;
use crate::multiversion::multiversion;
use crate::resample::axis::{Axis, Tap};
use crate::resample::plane;
use crate::resample::spline::Lines;

/// Planes of a tile: what one needs of the input, the next needs, too, and finds in the cache.
const PLANES: usize = 4;
/// Voxels of a tile, about. Each takes six bytes, and its class a few more, of a cache of often 1 MB.
const VOXELS: usize = 1 << 15;
/// Rows of a tile at least. The input rows at its edge are read by two tiles.
const ROWS: usize = 16;

/// Logits (classes, Z, Y, X), and where and how they become labels.
pub(super) struct Grid<'a> {
    pub logits: VolumeView<'a, f32>,
    pub new_shape: [usize; 3],
    /// None of them cubic.
    pub axes: [Axis; 3],
    pub decision: Decision<'a>,
}

/// A part of the output.
struct Tile<'a> {
    first_plane: usize,
    first_row: usize,
    /// The same rows of planes that follow one another.
    planes: Vec<&'a mut [i16]>,
}

/// Memory that is used again and again.
#[derive(Default)]
struct Scratch {
    /// The largest logits so far, of every plane.
    largest: Vec<f32>,
    /// Rows of two planes blended; those of their new width; two of these blended.
    flat: Vec<f32>,
    wide: Vec<f32>,
    row: Vec<f32>,
    /// Stays empty, since no axis is cubic.
    lines: Lines,
}

impl Grid<'_> {
    /// Fills `labels` (Z, Y, X), some tiles a thread.
    pub fn fill(&self, labels: &mut [i16], threads: usize) {
        let tiles = self.tiles(labels);
        let count = tiles.len();
        let tiles = Mutex::new(tiles.into_iter());
        let next = || tiles.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            let mut scratch = Scratch::default();
            while let Some(tile) = next() {
                self.fill_tile(tile, &mut scratch);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(count) {
                scope.spawn(work);
            }
            work();
        });
    }

    fn tiles<'a>(&self, labels: &'a mut [i16]) -> Vec<Tile<'a>> {
        let [depth, height, width] = self.new_shape;
        let rows = (VOXELS / (width * PLANES.min(depth))).max(ROWS);
        let mut tiles = Vec::new();
        for (slab, planes) in labels.chunks_mut(PLANES * height * width).enumerate() {
            let mut planes: Vec<_> = planes.chunks_exact_mut(height * width).map(|plane| plane.chunks_mut(rows * width)).collect();
            for first_row in (0..height).step_by(rows) {
                let planes = planes.iter_mut().filter_map(Iterator::next).collect();
                tiles.push(Tile { first_plane: slab * PLANES, first_row, planes });
            }
        }
        tiles
    }

    fn fill_tile(&self, mut tile: Tile<'_>, scratch: &mut Scratch) {
        let [classes, depth, height, width] = self.logits.shape;
        let new_width = self.new_shape[2];
        let [along_z, along_y, along_x] = &self.axes;
        let Scratch { largest, flat, wide, row, lines } = scratch;
        let size = tile.planes[0].len();
        let [lowest, highest] = [tile.first_row, tile.first_row + size / new_width - 1].map(|y| along_y.tap(y));
        let source_rows = lowest.index[0]..highest.index[1] + 1;
        // A plane that is made of the same input planes as the one before it is made once.
        let tap = |plane: usize| along_z.tap(tile.first_plane + plane);
        let repeats = |plane: usize| plane > 0 && tap(plane) == tap(plane - 1);

        largest.resize(tile.planes.len() * size, 0.0);
        row.resize(new_width, 0.0);
        for (labels, largest) in tile.planes.iter_mut().zip(largest.chunks_exact_mut(size)) {
            self.decision.start(largest, labels);
        }
        for class in 0..classes {
            let source = |z: usize| {
                let plane = (class * depth + z) * height;
                &self.logits.data[(plane + source_rows.start) * width..(plane + source_rows.end) * width]
            };
            let planes = tile.planes.iter_mut().zip(largest.chunks_exact_mut(size)).enumerate();
            for (plane, (labels, largest)) in planes.filter(|(plane, _)| !repeats(*plane)) {
                let Tap { index: [lower, upper], weight } = tap(plane);
                let narrow = if lower == upper { source(lower) } else { blend(source(lower), source(upper), weight, flat) };
                let rows = if along_x.is_same() {
                    narrow
                } else {
                    wide.resize(source_rows.len() * new_width, 0.0);
                    plane::along_rows(along_x, narrow, width, wide, new_width, lines);
                    &*wide
                };
                let rows_out = labels.chunks_exact_mut(new_width).zip(largest.chunks_exact_mut(new_width));
                for (y, (labels, largest)) in rows_out.enumerate() {
                    let Tap { index, weight } = along_y.tap(tile.first_row + y);
                    let [lower, upper] = index.map(|y| &rows[(y - source_rows.start) * new_width..][..new_width]);
                    let logits = if index[0] == index[1] { lower } else { blend(lower, upper, weight, row) };
                    self.decision.take(class, logits, largest, labels);
                }
            }
        }
        for plane in (0..tile.planes.len()).filter(|&plane| repeats(plane)) {
            let (before, after) = tile.planes.split_at_mut(plane);
            after[0].copy_from_slice(before[plane - 1]);
        }
    }
}

/// Mixes `lower` and `upper` into `out`, which gets their length.
fn blend<'a>(lower: &[f32], upper: &[f32], weight: [f32; 2], out: &'a mut Vec<f32>) -> &'a [f32] {
    out.resize(lower.len(), 0.0);
    mix(lower, upper, weight, out);
    out
}

multiversion! {
    fn mix(lower: &[f32], upper: &[f32], weight: [f32; 2], out: &mut [f32]) {
        for ((out, lower), upper) in out.iter_mut().zip(lower).zip(upper) {
            *out = weight[0] * lower + weight[1] * upper;
        }
    }
}
