//! Label-wise linear vote: how label maps are interpolated.
//!
//! At each sample the label wins whose corners weigh most. Where several weigh the same, that of the nearest voxel if it is one of
//! them, else the lowest (batchgeneratorsv2 0.3.6 `spatial/spatial.py`, `seg_tiebreak="nearest"`, which scores in half
//! precision and so sees some more ties). The cost does not grow with the number of labels.

use super::chunk::{CHUNK, Chunk};
use super::{Grid, Outside};
use crate::multiversion::multiversion;

/// Rounding of eight weights that sum to one.
const TIE: f32 = 1e-6;
/// In place of a label: the eight voxels of a cell have several. No label is that low.
const MIXED: i16 = i16::MIN;

/// What the eight voxels of every cell of a volume have in common. Where all have the same label, which is so nearly everywhere, a sample
/// takes one look instead of eight and a vote.
#[derive(Debug, Default)]
pub(in crate::augment) struct Cells {
    /// The label of the cell whose lowest voxel this is, or [`MIXED`].
    labels: Vec<i16>,
}

impl Grid {
    /// Takes the vote among voxels of `source` (Z, Y, X); beyond the volume is `outside`.
    pub(in crate::augment) fn vote(&self, source: &[i16], outside: Outside<i16>, out: &mut [i16], cells: &mut Cells) {
        cells.fill(self, source);
        self.vote_with(source, outside, out, &cells.labels);
    }
}

impl Cells {
    /// Looks at all cells of the slices and rows that the patch needs. Rows are as long as those of the source; the last cell of each says
    /// nothing, and no sample lies in it.
    fn fill(&mut self, grid: &Grid, source: &[i16]) {
        let strides = grid.strides();
        let [up_z, up_y] = grid.upper(strides);
        let slice = grid.needed.size()[1] * strides[1];
        self.labels.resize(grid.needed.size()[0] * slice, MIXED);
        for (number, out) in self.labels.chunks_exact_mut(slice.max(1)).enumerate() {
            let z = grid.needed.lower[0] - grid.source.lower[0] + number;
            let source = &source[z * strides[0] + (grid.needed.lower[1] - grid.source.lower[1]) * strides[1]..];
            // The last slice and the last row of a volume have none.
            let cells = source.len().saturating_sub(up_z + up_y + 1).min(slice);
            let row = |offset: usize| &source[offset..][..cells + 1];
            if cells > 0 {
                compare(row(0), row(up_y), row(up_z), row(up_z + up_y), &mut out[..cells]);
            }
        }
    }
}

multiversion! {
    /// The label of every cell between four rows.
    fn compare(a: &[i16], b: &[i16], c: &[i16], d: &[i16], out: &mut [i16]) {
        let n = out.len();
        let (a, b, c, d, e, f, g, h) = (&a[..n], &b[..n], &c[..n], &d[..n], &a[1..=n], &b[1..=n], &c[1..=n], &d[1..=n]);
        for (i, out) in out.iter_mut().enumerate() {
            let label = a[i];
            let differ =
                (label ^ b[i]) | (label ^ c[i]) | (label ^ d[i]) | (label ^ e[i]) | (label ^ f[i]) | (label ^ g[i]) | (label ^ h[i]);
            *out = if differ == 0 { label } else { MIXED };
        }
    }
}

/// Samples whose cell is mixed, from all over the patch, until there are enough to take the vote together.
struct Mixed {
    count: usize,
    /// For (z, y, x) the lowest of the eight voxels.
    corner: [[i32; CHUNK]; 3],
    /// For (z, y, x) the position between it and the highest.
    fraction: [[f32; CHUNK]; 3],
    /// Where the winner goes.
    out: [u32; CHUNK],
}

impl Grid {
    fn vote_with(&self, source: &[i16], outside: Outside<i16>, out: &mut [i16], cells: &[i16]) {
        let (lower, strides) = ([self.needed.lower[0], self.needed.lower[1], self.source.lower[2]], self.strides());
        let cell_strides = [self.needed.size()[1] * strides[1], strides[1], 1];
        let mut cell = [0; CHUNK];
        let mut mixed = Mixed { count: 0, corner: [[0; CHUNK]; 3], fraction: [[0.0; CHUNK]; 3], out: [0; CHUNK] };
        self.for_each_chunk(|chunk| {
            let interior = chunk.interior.clone();
            chunk.indices(lower, cell_strides, 0, cells.len(), &mut cell);
            let row = &mut out[chunk.first..][..chunk.count];
            let (mut found, mut count) = ([0_u8; CHUNK], 0);
            for (number, (out, cell)) in row[interior.clone()].iter_mut().zip(&cell).enumerate() {
                // SAFETY: `indices` has checked that all of them lie inside `cells`.
                *out = unsafe { *cells.get_unchecked(*cell as usize) };
                // Written in any case, and kept if the cell is mixed: that takes no jump.
                found[count % CHUNK] = number as u8;
                count += usize::from(*out == MIXED);
            }
            for sample in (0..interior.start).chain(interior.end..chunk.count) {
                row[sample] = self.vote_at_border(source, chunk, sample, outside);
            }
            for number in &found[..count] {
                mixed.push(chunk, interior.start + usize::from(*number));
                if mixed.count == CHUNK {
                    mixed.settle(self, source, out);
                }
            }
        });
        mixed.settle(self, source, out);
    }

    /// A sample some or all of whose voxels do not exist.
    fn vote_at_border(&self, source: &[i16], chunk: &Chunk, sample: usize, outside: Outside<i16>) -> i16 {
        let labels = [0, 1, 2, 3, 4, 5, 6, 7].map(|number| i32::from(self.corner(source, chunk, sample, number, outside)));
        if labels.iter().all(|label| *label == labels[0]) {
            return labels[0] as i16;
        }
        let at = |axis: usize| (chunk.corner[axis][sample], chunk.fraction[axis][sample]);
        heaviest(labels, [at(0), at(1), at(2)]) as i16
    }
}

/// Whether the upper one of two voxels is nearer, as a mask. Of two equally near ones that with the even index is.
#[inline(always)]
fn upper(corner: i32, fraction: f32) -> i32 {
    -i32::from((fraction > 0.5) | ((fraction == 0.5) & (corner & 1 != 0)))
}

impl Mixed {
    fn push(&mut self, chunk: &Chunk, sample: usize) {
        let at = self.count;
        for axis in 0..3 {
            self.corner[axis][at] = chunk.corner[axis][sample];
            self.fraction[axis][at] = chunk.fraction[axis][sample];
        }
        self.out[at] = (chunk.first + sample) as u32;
        self.count += 1;
    }

    /// Takes the vote of those that have come together.
    ///
    /// The label of the nearest voxel wins wherever it weighs half or more, which is nearly everywhere. Only the rest is counted in full.
    fn settle(&mut self, grid: &Grid, source: &[i16], out: &mut [i16]) {
        let strides = grid.strides();
        let [up_z, up_y] = grid.upper(strides);
        let mut labels = [[0_i32; CHUNK]; 8];
        for sample in 0..self.count {
            let place = |axis: usize| (self.corner[axis][sample] - grid.source.lower[axis] as i32) as usize * strides[axis];
            // The eight voxels span a range of the source.
            let voxels = &source[place(0) + place(1) + place(2)..][..up_z + up_y + 2];
            for (number, labels) in labels.iter_mut().enumerate() {
                labels[sample] = i32::from(voxels[(number >> 2) * up_z + (number >> 1 & 1) * up_y + (number & 1)]);
            }
        }
        let (mut winner, mut score) = ([0; CHUNK], [0.0; CHUNK]);
        score_nearest(&labels, &self.corner, &self.fraction, &mut winner, &mut score);
        for sample in 0..self.count {
            if score[sample] < 0.5 - TIE {
                let at = |axis: usize| (self.corner[axis][sample], self.fraction[axis][sample]);
                winner[sample] = heaviest(labels.each_ref().map(|labels| labels[sample]), [at(0), at(1), at(2)]);
            }
            out[self.out[sample] as usize] = winner[sample] as i16;
        }
        self.count = 0;
    }
}

multiversion! {
    /// The labels of the nearest voxels, and what they weigh in all.
    fn score_nearest(
        labels: &[[i32; CHUNK]; 8],
        corner: &[[i32; CHUNK]; 3],
        fraction: &[[f32; CHUNK]; 3],
        nearest: &mut [i32; CHUNK],
        score: &mut [f32; CHUNK],
    ) {
        let [z, y, x] = fraction;
        for i in 0..CHUNK {
            let (up_z, up_y, up_x) = (upper(corner[0][i], z[i]), upper(corner[1][i], y[i]), upper(corner[2][i], x[i]));
            let pick = |mask: i32, low: i32, high: i32| low ^ ((low ^ high) & mask);
            let low = pick(up_y, pick(up_x, labels[0][i], labels[1][i]), pick(up_x, labels[2][i], labels[3][i]));
            let high = pick(up_y, pick(up_x, labels[4][i], labels[5][i]), pick(up_x, labels[6][i], labels[7][i]));
            nearest[i] = pick(up_z, low, high);
        }
        score.fill(0.0);
        for (number, labels) in labels.iter().enumerate() {
            // How much a corner weighs is a product of its nearness along each axis: the fraction, or one minus it.
            let [from_z, from_y, from_x] = [number & 4 == 0, number & 2 == 0, number & 1 == 0].map(|low| if low { 1.0_f32 } else { 0.0 });
            for i in 0..CHUNK {
                let weight = (from_z - z[i]).abs() * (from_y - y[i]).abs() * (from_x - x[i]).abs();
                // A mask, since a condition would become a jump.
                let same = (-i32::from(labels[i] == nearest[i])) as u32;
                score[i] += f32::from_bits(weight.to_bits() & same);
            }
        }
    }
}

/// The label that weighs most in all; of several the lowest, but that of the nearest voxel if it is one of them.
/// A sample lies between `lower` and the next along each axis, at a position from 0 to 1.
fn heaviest(labels: [i32; 8], [z, y, x]: [(i32, f32); 3]) -> i32 {
    let side = |number: usize, axis: usize| {
        let (_, fraction) = [z, y, x][axis];
        if number >> (2 - axis) & 1 == 1 { fraction } else { 1.0 - fraction }
    };
    let weights = [0, 1, 2, 3, 4, 5, 6, 7].map(|number| side(number, 0) * side(number, 1) * side(number, 2));
    let score = |label: i32| -> f32 { labels.iter().zip(weights).map(|(&other, weight)| if other == label { weight } else { 0.0 }).sum() };
    let scores = labels.map(score);
    let best = scores.iter().copied().fold(0.0, f32::max);
    let nearest = (upper(z.0, z.1) & 4 | upper(y.0, y.1) & 2 | upper(x.0, x.1) & 1) as usize;
    if scores[nearest] > best - TIE {
        return labels[nearest];
    }
    let winners = labels.iter().zip(scores).filter(|(_, score)| *score > best - TIE).map(|(label, _)| *label);
    winners.min().unwrap_or(labels[nearest])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote_at(labels: [i32; 8], corner: [i32; 3], fraction: [f32; 3]) -> i32 {
        let winner = heaviest(labels, [0, 1, 2].map(|axis| (corner[axis], fraction[axis])));
        // The way of most samples comes to the same, where it decides.
        let (mut nearest, mut score) = ([0; CHUNK], [0.0; CHUNK]);
        score_nearest(
            &labels.map(|label| [label; CHUNK]),
            &corner.map(|corner| [corner; CHUNK]),
            &fraction.map(|f| [f; CHUNK]),
            &mut nearest,
            &mut score,
        );
        assert!(score[0] < 0.5 - TIE || nearest == [winner; CHUNK]);
        winner
    }

    #[test]
    fn the_label_that_weighs_most_wins() {
        // The nearest voxel has label 5, which weighs 0.216; label 2 is at the three next ones, which weigh 0.432 together.
        assert_eq!(vote_at([5, 2, 2, 7, 2, 7, 7, 9], [0; 3], [0.4; 3]), 2);
        assert_eq!(vote_at([1, 1, 1, 1, 1, 1, 1, 4], [0; 3], [0.9, 0.9, 0.9]), 4);
        assert_eq!(vote_at([1, 1, 1, 1, 4, 4, 4, 4], [0; 3], [0.9, 0.2, 0.3]), 4);
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
