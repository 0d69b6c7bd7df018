//! Cubic interpolation along lines of voxels, many lines side by side.
//!
//! A spline's coefficients come from a recursive filter, in which every voxel waits for its neighbour. [`LANES`] lines at a time fill
//! the vector registers nevertheless: a [`Row`] holds the same place of each.

use super::axis::{PADDING, Tap};

/// Lines that are worked on side by side.
pub(super) const LANES: usize = 16;

/// One place along [`LANES`] lines.
pub(super) type Row = [f32; LANES];

/// Pole of the cubic B-spline's filter, sqrt(3) - 2.
const POLE: f64 = -0.267_949_192_431_122_7;

/// Room for [`LANES`] lines and what lies [`PADDING`] beyond their ends.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rows: Vec<Row>,
}

impl Lines {
    /// The voxels of lines of `size` voxels, to be filled in before [`Self::filter`].
    pub fn voxels(&mut self, size: usize) -> &mut [Row] {
        self.rows.resize(size + 2 * PADDING, [0.0; LANES]);
        &mut self.rows[PADDING..PADDING + size]
    }

    /// Turns voxels into the coefficients of the spline through them, but for a factor of six that the taps have
    /// (Unser, Aldroubi and Eden, 1991).
    ///
    /// The outermost voxels go on forever. scipy repeats them twelve times and mirrors what it has then, which makes a difference of
    /// 1e-14 of a voxel.
    pub fn filter(&mut self) {
        let pole = POLE as f32;
        let steady = (1.0 / (1.0 - POLE)) as f32;
        let fading = (1.0 / (1.0 - POLE * POLE)) as f32;
        let end = self.rows.len() - PADDING;
        let (head, tail) = (self.rows[PADDING], self.rows[end - 1]);
        self.rows[..PADDING].fill(head);
        self.rows[end..].fill(tail);

        let mut previous = head.map(|value| value * steady);
        for row in &mut self.rows {
            // For the first row, this is the steady state that it is in already.
            row.iter_mut().zip(previous).for_each(|(value, previous)| *value += pole * previous);
            previous = *row;
        }
        // What the backward filter has made of the endless row of constants beyond the last row: there the forward filter settles
        // at `settled`, and its distance from that fades with the pole's powers.
        let mut next: Row = std::array::from_fn(|lane| {
            let settled = tail[lane] * steady;
            let distance = (previous[lane] - settled) * pole;
            -pole * (settled * steady + distance * fading)
        });
        for row in self.rows.iter_mut().rev() {
            row.iter_mut().zip(next).for_each(|(value, next)| *value = pole * (next - *value));
            next = *row;
        }
    }

    /// One output voxel of every line.
    pub fn mix(&self, tap: &Tap<4>) -> Row {
        let [a, b, c, d] = tap.index.map(|index| &self.rows[index]);
        let [wa, wb, wc, wd] = tap.weight;
        std::array::from_fn(|lane| wa * a[lane] + wb * b[lane] + wc * c[lane] + wd * d[lane])
    }
}
