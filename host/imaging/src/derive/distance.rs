//! Exact Euclidean distances, axis after axis: along every line, the squared distance is the lowest of one parabola per voxel, as
//! in Felzenszwalb and Huttenlocher, "Distance transforms of sampled functions", Theory of Computing 8, 2012.
//!
//! Theirs finds the lowest one by where parabolas intersect, line by line. Here lines that lie side by side are measured together,
//! in vector code: every voxel's parabola is followed to either side for as long as it is the lowest in any of the lines. Voxels
//! take as many steps as they are away from the border along the axis, rarely the whole line.
//!
//! Both sides of the border are measured in the same place: what is stored is the squared distance to the *other* side, negative
//! inside.

use super::check_length;

/// Lines that are measured together: as many numbers as a line of the cache holds.
const LINES: usize = 16;

/// Memory that distances use again, for patches of any shape: a few lines of voxels.
#[derive(Debug, Default)]
pub struct DistanceScratch {
    /// Squared distance of voxels that are so many steps apart.
    steps: Vec<f32>,
    /// The lines at hand, an entry per voxel along them.
    tile: Vec<[f32; LINES]>,
    heights: Vec<[f32; LINES]>,
    lowest: Vec<[f32; LINES]>,
}

/// Distance in mm from every voxel's centre to that of the nearest voxel of `set`, 0 in the set itself and infinite where
/// nothing is set, to `out`.
///
/// `set` and `out` have shape `spatial` (z, y, x); `spacing` is (z, y, x) in mm. Equals
/// `scipy.ndimage.distance_transform_edt(~set, sampling=spacing)`.
///
/// # Panics
/// When `set` or `out` does not have as many elements as `spatial` says.
pub fn distance_to_nearest(set: &[bool], spatial: [usize; 3], spacing: [f64; 3], out: &mut [f32], scratch: &mut DistanceScratch) {
    signed_squares(set, spatial, spacing, &[OUTSIDE], out, scratch);
    out.iter_mut().for_each(|value| *value = value.max(0.0).sqrt());
}

/// Signed distance in mm to the border of `foreground`: positive outside, negative inside, to `out`. It lies between voxel
/// centres, to the nearest voxel of the other side, so that it is never 0.
///
/// `foreground` and `out` have shape `spatial` (z, y, x); `spacing` is (z, y, x) in mm. Outside it equals
/// `scipy.ndimage.distance_transform_edt(~foreground, sampling=spacing)` and inside
/// `-scipy.ndimage.distance_transform_edt(foreground, sampling=spacing)`.
///
/// A border beyond the patch is not known: near the patch's edge, the distance to the nearest one inside may be too long. Without
/// any (all or nothing is foreground), `out` is 0 everywhere and the result is false.
///
/// # Panics
/// When `foreground` or `out` does not have as many elements as `spatial` says.
pub fn signed_distance(
    foreground: &[bool],
    spatial: [usize; 3],
    spacing: [f64; 3],
    out: &mut [f32],
    scratch: &mut DistanceScratch,
) -> bool {
    signed_squares(foreground, spatial, spacing, &[OUTSIDE, INSIDE], out, scratch);
    // Where there is one border, it is at a finite distance from every voxel.
    let known = out.first().is_some_and(|first| first.is_finite());
    if known {
        out.iter_mut().for_each(|value| *value = value.abs().sqrt().copysign(*value));
    } else {
        out.fill(0.0);
    }
    known
}

/// Signs of the distances.
const OUTSIDE: f32 = 1.0;
const INSIDE: f32 = -1.0;

/// Squared distances to the nearest voxel of the other side, negative inside `set` and infinite where there is no other side.
/// Only those on `sides` are complete.
fn signed_squares(set: &[bool], spatial: [usize; 3], spacing: [f64; 3], sides: &[f32], out: &mut [f32], scratch: &mut DistanceScratch) {
    check_length(spatial, set.len());
    check_length(spatial, out.len());
    let [depth, height, width] = spatial;
    if set.is_empty() {
        return;
    }
    for (set, out) in set.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        measure_row(set, spacing[2] as f32, out);
    }
    if height > 1 {
        out.chunks_exact_mut(height * width).for_each(|slice| measure_lines(slice, height, spacing[1], sides, scratch));
    }
    if depth > 1 {
        measure_lines(out, depth, spacing[0], sides, scratch);
    }
}

/// The first axis: the distance to the nearer end of the run that a voxel lies in.
fn measure_row(set: &[bool], spacing: f32, out: &mut [f32]) {
    let mut start = 0;
    while start < set.len() {
        let inside = set[start];
        let length = set[start..].iter().position(|other| *other != inside).unwrap_or(set.len() - start);
        let end = start + length;
        // Steps from the run's first and last voxel to the other side.
        let before = if start > 0 { 1.0 } else { f32::INFINITY };
        let after = if end < set.len() { 1.0 } else { f32::INFINITY };
        let sign = if inside { INSIDE } else { OUTSIDE };
        for (i, value) in out[start..end].iter_mut().enumerate() {
            // By way of i32, which vector code turns into f32.
            let distance = (before + i as i32 as f32).min(after + (length - 1 - i) as i32 as f32) * spacing;
            *value = sign * distance * distance;
        }
        start = end;
    }
}

/// Measures along an axis of `length` voxels whose lines lie side by side in `values`, of shape (length, number of lines).
fn measure_lines(values: &mut [f32], length: usize, spacing: f64, sides: &[f32], scratch: &mut DistanceScratch) {
    let stride = values.len() / length;
    let DistanceScratch { steps, tile, heights, lowest } = scratch;
    steps.clear();
    steps.extend((0..length).map(|step| (step as f64 * spacing).powi(2) as f32));
    tile.clear();
    tile.resize(length, [0.0; LINES]);
    for first in (0..stride).step_by(LINES) {
        // Where there are fewer, the rest of the tile is of no account.
        let lines = LINES.min(stride - first);
        for (tile, row) in tile.iter_mut().zip(values.chunks_exact(stride)) {
            tile[..lines].copy_from_slice(&row[first..first + lines]);
        }
        for side in sides {
            heights.clear();
            // The other side is where distances start from.
            heights.extend(tile.iter().map(|values| -> [f32; LINES] { std::array::from_fn(|i| larger(side * values[i], 0.0)) }));
            if heights.iter().all(|heights| *heights == [0.0; LINES]) {
                continue;
            }
            lowest.clone_from(heights);
            take_lowest(heights, steps, lowest);
            for (values, lowest) in tile.iter_mut().zip(&*lowest) {
                *values = std::array::from_fn(|i| if side * values[i] > 0.0 { side * lowest[i] } else { values[i] });
            }
        }
        for (tile, row) in tile.iter().zip(values.chunks_exact_mut(stride)) {
            row[first..first + lines].copy_from_slice(&tile[..lines]);
        }
    }
}

/// For every voxel of every line, the lowest over the line's voxels of height plus squared distance. `lowest` holds the heights to
/// begin with.
fn take_lowest(heights: &[[f32; LINES]], steps: &[f32], lowest: &mut [[f32; LINES]]) {
    // Of two parabolas, the one that starts further to the right gains on the other all the way to the right. So one that is not
    // the lowest need not be followed any further, provided that those on its right went before it. Likewise to the left.
    for (i, heights) in heights.iter().enumerate().rev() {
        for (lowest, step) in lowest[i + 1..].iter_mut().zip(&steps[1..]) {
            if !lower(lowest, heights, *step) {
                break;
            }
        }
    }
    for (i, heights) in heights.iter().enumerate() {
        for (lowest, step) in lowest[..i].iter_mut().rev().zip(&steps[1..]) {
            if !lower(lowest, heights, *step) {
                break;
            }
        }
    }
}

/// Lowers `lowest` to `heights` + `step` where that is lower, and tells whether it is anywhere.
fn lower(lowest: &mut [f32; LINES], heights: &[f32; LINES], step: f32) -> bool {
    let values: [f32; LINES] = std::array::from_fn(|i| heights[i] + step);
    let lower: [u32; LINES] = std::array::from_fn(|i| u32::from(values[i] < lowest[i]));
    *lowest = std::array::from_fn(|i| if values[i] < lowest[i] { values[i] } else { lowest[i] });
    lower.into_iter().fold(0, |any, lower| any | lower) != 0
}

/// `f32::max` for numbers, in one instruction: it need not care for NaN.
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition: the nearest of all voxels of the other side.
    fn by_comparison(set: &[bool], spatial: [usize; 3], spacing: [f64; 3]) -> Vec<f64> {
        let [depth, height, width] = spatial;
        let points: Vec<[usize; 3]> = (0..depth).flat_map(|z| (0..height).flat_map(move |y| (0..width).map(move |x| [z, y, x]))).collect();
        let distance = |a: [usize; 3], b: [usize; 3]| {
            (0..3).map(|axis| ((a[axis] as f64 - b[axis] as f64) * spacing[axis]).powi(2)).sum::<f64>().sqrt()
        };
        let nearest = |point, inside: bool| {
            let others = points.iter().zip(set).filter(|(_, other)| **other != inside);
            others.map(|(other, _)| distance(point, *other)).fold(f64::INFINITY, f64::min)
        };
        points.iter().zip(set).map(|(point, inside)| if *inside { -nearest(*point, true) } else { nearest(*point, false) }).collect()
    }

    #[test]
    fn equals_the_nearest_of_all_voxels() {
        let mut scratch = DistanceScratch::default();
        for (spatial, spacing) in [([5, 7, 18], [2.5, 1.0, 0.7]), ([1, 20, 33], [9.0, 0.4, 1.3]), ([12, 1, 5], [0.3, 4.0, 5.0])] {
            let count = spatial.iter().product();
            for modulus in [2, 5, 23, 70] {
                let set: Vec<bool> = (0..count).map(|i| i * 37 % 101 % modulus == 0).collect();
                let mut found = vec![f32::NAN; count];
                assert!(signed_distance(&set, spatial, spacing, &mut found, &mut scratch));
                let mut nearest = vec![f32::NAN; count];
                distance_to_nearest(&set, spatial, spacing, &mut nearest, &mut scratch);
                for ((found, nearest), expected) in found.iter().zip(nearest).zip(by_comparison(&set, spatial, spacing)) {
                    assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} instead of {expected}");
                    assert_eq!(nearest, found.max(0.0));
                }
            }
        }
    }

    #[test]
    fn without_a_border_nothing_is_known() {
        for inside in [false, true] {
            let mut out = [7.0; 8];
            assert!(!signed_distance(&[inside; 8], [2, 2, 2], [1.0; 3], &mut out, &mut DistanceScratch::default()));
            assert_eq!(out, [0.0; 8]);
        }
        let nearest = |set: [bool; 8]| {
            let mut out = [7.0; 8];
            distance_to_nearest(&set, [2, 2, 2], [1.0; 3], &mut out, &mut DistanceScratch::default());
            out
        };
        assert_eq!(nearest([false; 8]), [f32::INFINITY; 8]);
        assert_eq!(nearest([true; 8]), [0.0; 8]);
        distance_to_nearest(&[], [0, 2, 2], [1.0; 3], &mut [], &mut DistanceScratch::default());
    }
}
