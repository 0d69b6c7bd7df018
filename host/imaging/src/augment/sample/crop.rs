//! Patches that are cut out without interpolation.

use std::ops::Range;

/// A patch whose voxels are voxels of the volume: cut out, and flipped or turned by right angles.
#[derive(Clone, Copy, Debug)]
pub(in crate::augment) struct Crop {
    /// Size of the patch in voxels.
    pub patch: [usize; 3],
    /// Voxel of the source that is the patch's first; may lie outside.
    pub first: [i64; 3],
    /// For each axis of the patch, the axis of the source that it runs along and in which direction, 1 or -1.
    pub steps: [(usize, i64); 3],
    /// Spatial shape of the source, or of the volume when `first` is a voxel of that.
    pub source: [usize; 3],
}

impl Crop {
    /// Cuts `source` (C, Z, Y, X); what lies beyond it becomes `outside`.
    pub(in crate::augment) fn cut<T: Copy>(&self, source: &[T], outside: T, out: &mut [T]) {
        let [_, height, width] = self.patch;
        let voxels = self.source.iter().product::<usize>();
        let [zs, ys, xs] = self.ranges();
        let strides = [self.source[1] * self.source[2], self.source[2], 1].map(|stride| stride as i64);
        let start: i64 = (0..3).map(|axis| self.first[axis] * strides[axis]).sum();
        let [step_z, step_y, step_x] = self.steps.map(|(axis, direction)| direction * strides[axis]);
        for (number, out) in out.chunks_exact_mut(self.patch.iter().product()).enumerate() {
            let channel = &source[number * voxels..(number + 1) * voxels];
            for (number, row) in out.chunks_exact_mut(width).enumerate() {
                let (z, y) = (number / height, number % height);
                if !zs.contains(&z) || !ys.contains(&y) || xs.is_empty() {
                    row.fill(outside);
                    continue;
                }
                row[..xs.start].fill(outside);
                row[xs.end..].fill(outside);
                let at = start + z as i64 * step_z + y as i64 * step_y + xs.start as i64 * step_x;
                copy(channel, at as usize, step_x, &mut row[xs.clone()]);
            }
        }
    }

    /// Which voxels of the patch the volume has.
    pub(in crate::augment) fn inside(&self, out: &mut [bool]) {
        let [_, height, width] = self.patch;
        let [zs, ys, xs] = self.ranges();
        for (number, row) in out.chunks_exact_mut(width).enumerate() {
            row.fill(false);
            if zs.contains(&(number / height)) && ys.contains(&(number % height)) {
                row[xs.clone()].fill(true);
            }
        }
    }

    /// Voxels of the patch that lie inside, along each of its axes.
    fn ranges(&self) -> [Range<usize>; 3] {
        std::array::from_fn(|axis| {
            let (along, direction) = self.steps[axis];
            let (first, length, size) = (self.first[along], self.source[along] as i64, self.patch[axis] as i64);
            // first + i, or first - i, is from 0 to length - 1.
            let (low, high) = if direction > 0 { (-first, length - first) } else { (first - length + 1, first + 1) };
            let low = low.clamp(0, size);
            low as usize..high.clamp(low, size) as usize
        })
    }
}

/// Every `step`th element of `source` from `at` on.
fn copy<T: Copy>(source: &[T], at: usize, step: i64, out: &mut [T]) {
    match step {
        1 => out.copy_from_slice(&source[at..at + out.len()]),
        -1 => {
            let reversed = source[at + 1 - out.len()..=at].iter().rev();
            out.iter_mut().zip(reversed).for_each(|(out, value)| *out = *value);
        }
        _ => {
            for (i, out) in out.iter_mut().enumerate() {
                *out = source[(at as i64 + i as i64 * step) as usize];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_may_reach_over_every_border_and_be_turned() {
        let shape = [3, 4, 5];
        let source: Vec<i32> = (0..120).collect();
        let straight = [(0, 1), (1, 1), (2, 1)];
        for steps in [straight, [(0, -1), (1, 1), (2, -1)], [(1, 1), (0, -1), (2, 1)], [(2, -1), (1, -1), (0, 1)]] {
            for first in [[0, 0, 0], [-1, -2, -3], [2, 3, 4], [1, -1, 2], [-9, 0, 0], [0, 0, 9], [0, 7, 0], [4, 5, 6]] {
                let crop = Crop { patch: [3, 4, 6], first, steps, source: shape };
                let (mut cut, mut inside) = (vec![0; 2 * 72], vec![true; 72]);
                crop.cut(&source, -1, &mut cut);
                crop.inside(&mut inside);
                for (index, &value) in cut.iter().enumerate() {
                    let position = [index / 24 % 3, index / 6 % 4, index % 6];
                    let mut from = first;
                    for (&(axis, direction), place) in steps.iter().zip(position) {
                        from[axis] += direction * place as i64;
                    }
                    let is_inside = (0..3).all(|axis| (0..shape[axis] as i64).contains(&from[axis]));
                    let expected = if is_inside { (((index / 72) as i64 * 3 + from[0]) * 4 + from[1]) * 5 + from[2] } else { -1 };
                    assert_eq!(i64::from(value), expected, "{crop:?}, voxel {position:?}");
                    assert_eq!(inside[index % 72], is_inside, "{crop:?}, voxel {position:?}");
                }
            }
        }
    }
}
