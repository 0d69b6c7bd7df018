//! The connected components of a mask.

use std::ops::Range;

use super::bits::{Bits, for_each_run};

/// The connected components of a mask. Voxels that share a corner are connected, as in scikit-image's `label`, whose numbers they have:
/// they are ordered by their first voxels.
#[derive(Debug, Default)]
pub struct Components {
    /// (Z, Y, X) of the mask.
    spatial: [usize; 3],
    /// Voxels side by side along x, in the order of memory.
    runs: Vec<Run>,
    /// Of every row, its first run; and where the last one ends.
    rows: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    /// Number of the row.
    row: usize,
    /// First x, and the one behind the last.
    start: usize,
    end: usize,
    /// An earlier run of the component, or itself. Itself and only itself, for the first one.
    parent: usize,
    /// Voxels of the component, for its first run.
    size: usize,
}

impl Components {
    /// Finds those of `mask`.
    pub fn find(&mut self, mask: &Bits) {
        self.spatial = mask.spatial;
        let [depth, height, _] = mask.spatial;
        self.runs.clear();
        self.rows.clear();
        for (row, words) in mask.data.chunks_exact(mask.words().max(1)).enumerate() {
            self.rows.push(self.runs.len());
            for_each_run(words, |start, end| {
                let parent = self.runs.len();
                self.runs.push(Run { row, start, end, parent, size: 0 });
            });
        }
        self.rows.push(self.runs.len());
        for z in 0..depth {
            for y in 0..height {
                let above = |z: usize| (y.saturating_sub(1)..(y + 2).min(height)).map(move |y| z * height + y);
                if z > 0 {
                    above(z - 1).for_each(|other| self.connect(z * height + y, other));
                }
                if y > 0 {
                    self.connect(z * height + y, z * height + y - 1);
                }
            }
        }
        for number in 0..self.runs.len() {
            let (first, length) = (self.first(number), self.runs[number].end - self.runs[number].start);
            self.runs[first].size += length;
        }
    }

    /// Sets to `fill` in `values`, (Z, Y, X), all components but the largest; those that are equally large stay.
    pub fn clear_all_but_largest<T: Copy>(&mut self, values: &mut [T], fill: T) {
        let largest = self.runs.iter().map(|run| run.size).max().unwrap_or(0);
        for number in 0..self.runs.len() {
            let first = self.first(number);
            if self.runs[first].size < largest {
                let run = self.runs[number];
                values[run.row * self.spatial[2]..][run.start..run.end].fill(fill);
            }
        }
    }

    /// Sets to 0 in `channel`, (Z, Y, X), one component that covers less than the share `below`: of those, the one that `pick`, from 0 to
    /// below 1, falls on.
    pub fn remove(&mut self, channel: &mut [f32], pick: f64, below: f64) {
        let limit = self.spatial.iter().product::<usize>() as f64 * below;
        let small = |(number, run): &(usize, &Run)| run.parent == *number && (run.size as f64) < limit;
        let count = self.runs.iter().enumerate().filter(small).count();
        let chosen = ((pick * count as f64) as usize).min(count.saturating_sub(1));
        let Some((chosen, _)) = self.runs.iter().enumerate().filter(small).nth(chosen) else { return };
        for number in chosen..self.runs.len() {
            if self.first(number) == chosen {
                let run = self.runs[number];
                channel[run.row * self.spatial[2]..][run.start..run.end].fill(0.0);
            }
        }
    }

    /// Connects the runs of two rows that touch, corners included.
    fn connect(&mut self, row: usize, other: usize) {
        let (mut a, mut b) = (self.of(row), self.of(other));
        while let (Some(i), Some(j)) = (a.clone().next(), b.clone().next()) {
            let (one, two) = (self.runs[i], self.runs[j]);
            if one.start <= two.end && two.start <= one.end {
                let (one, two) = (self.first(i), self.first(j));
                self.runs[one.max(two)].parent = one.min(two);
            }
            // The one that ends first touches nothing further on; where both end together, neither does.
            if one.end < two.end {
                a.next()
            } else {
                b.next()
            };
        }
    }

    fn of(&self, row: usize) -> Range<usize> {
        self.rows[row]..self.rows[row + 1]
    }

    /// The first run of the component that run `number` belongs to, as far as it is known.
    fn first(&mut self, mut number: usize) -> usize {
        while self.runs[number].parent != number {
            // Halves the way for the next time.
            let parent = self.runs[number].parent;
            self.runs[number].parent = self.runs[parent].parent;
            number = parent;
        }
        number
    }
}
