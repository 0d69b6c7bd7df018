//! How far the surfaces of two segmentations are apart: normalised surface Dice, Hausdorff and average surface distance.
//!
//! Surfaces are those of DeepMind's `surface-distance` (PyPI, 0.1; Nikolov et al., "Deep learning to achieve clinically applicable
//! segmentation of head and neck anatomy for radiotherapy", 2018, arXiv:1809.04430): an element lies on every corner of voxels
//! between the mask and the rest, weighs as much as the marching-cubes polygon between the eight voxels around it, and is as far
//! from the other surface as from its nearest element. What lies beyond the maps is not in any mask.
//!
//! 2D maps have one slice; their surfaces are contours between four pixels, and the spacing along z only counts for volumes.

mod area;
mod tolerance;

use crate::derive::{DistanceScratch, distance_to_nearest};
use area::{areas, encode, is_border};
use std::ops::Range;
use tolerance::Tolerance;

/// What part of the surface the robust Hausdorff distance covers: 95 % but for the rounding of sums, so that it does not decide
/// where an element ends there exactly.
const ROBUST: f64 = 0.95 - 1e-10;

/// How a predicted region differs from the reference, in mm unless stated otherwise.
///
/// Where neither has the region, all surface metrics are NaN; where only one of them has, `nsd` is 0 and all distances to the surface
/// that is not there are infinite. (In `surface-distance`, the robust Hausdorff distance of two empty masks is infinite, and `nsd` 1
/// with an infinite tolerance.)
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SurfaceMetrics {
    /// Normalised surface Dice, 0 to 1: the part of both surfaces that is within the tolerance of the other one
    /// (`compute_surface_dice_at_tolerance`).
    pub nsd: f64,
    /// Hausdorff distance: the greatest distance of either surface from the other.
    pub hd: f64,
    /// The same for the 95 % of either surface that are nearest to the other (`compute_robust_hausdorff`).
    pub hd95: f64,
    /// Average symmetric surface distance: the mean distance from the other one over both surfaces together.
    pub assd: f64,
    /// Mean distance of the predicted surface from that of the reference, NaN where nothing is predicted
    /// (`compute_average_surface_distance`).
    pub to_reference: f64,
    /// Mean distance of the reference's surface from the predicted one, NaN where the reference has none.
    pub to_prediction: f64,
    /// Predicted volume less that of the reference, in mm³.
    pub volume_difference: f64,
    /// The same as a part of the reference's volume, without unit: NaN where both are empty, infinite where the reference is.
    pub relative_volume_difference: f64,
}

/// Memory that metrics use again, for maps of any shape: 8 bytes per voxel of the largest box around a region, and per element of
/// its surface.
#[derive(Debug, Default)]
pub struct SurfaceScratch {
    /// Which voxels of a row, or of the box, are in the region: 1, else 0.
    mask: Vec<u8>,
    /// What lies around every corner of the box's voxels in either map.
    codes: [Vec<u8>; 2],
    /// The corners that the other surface passes by, and the distance to it.
    border: Vec<bool>,
    distances: Vec<f32>,
    /// Distance and code of every element.
    elements: Vec<u64>,
    distance: DistanceScratch,
}

/// Compares the region that consists of all labels in `values` between two label maps, with `tolerance` in mm.
///
/// `prediction` and `reference` have `shape` (z, y, x) in C order, `spacing` is (z, y, x) in mm. Distances are exact up to the
/// rounding of f32.
///
/// # Panics
/// When `prediction` or `reference` does not have as many elements as `shape` says.
pub fn surface_metrics(
    prediction: &[i16],
    reference: &[i16],
    shape: [usize; 3],
    spacing: [f64; 3],
    values: &[i16],
    tolerance: f64,
    scratch: &mut SurfaceScratch,
) -> SurfaceMetrics {
    let maps = [prediction, reference];
    for map in maps {
        assert_eq!(shape.iter().product::<usize>(), map.len(), "shape {shape:?} and number of elements differ");
    }
    let region = Region { shape, values };
    let mut bounds = Bounds { lower: shape, upper: [0; 3] };
    let counts = maps.map(|map| region.count(map, &mut bounds, &mut scratch.mask));
    let [predicted, surface] = match counts.map(|count| count > 0) {
        [true, true] => {
            let padded = bounds.padded(shape);
            for (map, codes) in maps.iter().zip(&mut scratch.codes) {
                region.fill(map, &bounds, padded, &mut scratch.mask);
                encode(&scratch.mask, padded, codes);
            }
            compare(padded.map(|size| size - 1), spacing, shape[0] == 1, tolerance, scratch)
        }
        present => present.map(|present| if present { Side::ALONE } else { Side::ABSENT }),
    };
    let [volume, reference_volume] = counts.map(|count| count as f64 * spacing.iter().product::<f64>());
    SurfaceMetrics {
        nsd: (predicted.within + surface.within) / (predicted.area + surface.area),
        hd: predicted.farthest.max(surface.farthest),
        hd95: predicted.robust.max(surface.robust),
        assd: (predicted.moment + surface.moment) / (predicted.area + surface.area),
        to_reference: predicted.moment / predicted.area,
        to_prediction: surface.moment / surface.area,
        volume_difference: volume - reference_volume,
        relative_volume_difference: (volume - reference_volume) / reference_volume,
    }
}

/// What a region is, in maps of any content.
struct Region<'a> {
    shape: [usize; 3],
    values: &'a [i16],
}

impl Region<'_> {
    /// Counts the region's voxels and widens `bounds` to hold them.
    fn count(&self, map: &[i16], bounds: &mut Bounds, row: &mut Vec<u8>) -> usize {
        let [_, height, width] = self.shape;
        row.clear();
        row.resize(width, 0);
        let mut count = 0;
        for (i, labels) in map.chunks_exact(width.max(1)).enumerate() {
            // Most rows have nothing of a region.
            if !self.values.iter().any(|value| labels.iter().fold(false, |any, label| any | (label == value))) {
                continue;
            }
            self.mark(labels, row);
            count += row.iter().map(|mark| u32::from(*mark)).sum::<u32>() as usize;
            let ends = [row.iter().position(|mark| *mark != 0), row.iter().rposition(|mark| *mark != 0)];
            ends.into_iter().flatten().for_each(|x| bounds.include([i / height, i % height, x]));
        }
        count
    }

    /// Fills `mask` with what `bounds` holds of the region, with nothing around it, or two slices of the same for a single one.
    fn fill(&self, map: &[i16], bounds: &Bounds, padded: [usize; 3], mask: &mut Vec<u8>) {
        let [_, height, width] = self.shape;
        let place = |z: usize, y: usize| (z * padded[1] + y) * padded[2];
        let flat = self.shape[0] == 1;
        mask.clear();
        mask.resize(padded.iter().product(), 0);
        for z in bounds.range(0) {
            for y in bounds.range(1) {
                let labels = &map[(z * height + y) * width..][bounds.range(2)];
                let slice = if flat { 0 } else { z - bounds.lower[0] + 1 };
                self.mark(labels, &mut mask[place(slice, y - bounds.lower[1] + 1) + 1..][..labels.len()]);
            }
        }
        if flat {
            mask.copy_within(..place(1, 0), place(1, 0));
        }
    }

    /// Value after value, which is vector code.
    fn mark(&self, labels: &[i16], marks: &mut [u8]) {
        marks.fill(0);
        for value in self.values {
            marks.iter_mut().zip(labels).for_each(|(mark, label)| *mark |= u8::from(label == value));
        }
    }
}

/// The voxels from `lower` to `upper`, which is included.
struct Bounds {
    lower: [usize; 3],
    upper: [usize; 3],
}

impl Bounds {
    fn include(&mut self, voxel: [usize; 3]) {
        for (axis, at) in voxel.into_iter().enumerate() {
            self.lower[axis] = self.lower[axis].min(at);
            self.upper[axis] = self.upper[axis].max(at);
        }
    }

    fn range(&self, axis: usize) -> Range<usize> {
        self.lower[axis]..self.upper[axis] + 1
    }

    /// The size with a voxel around. A map of one slice gets another one instead.
    fn padded(&self, shape: [usize; 3]) -> [usize; 3] {
        [0, 1, 2].map(|axis| if axis == 0 && shape[0] == 1 { 2 } else { self.range(axis).len() + 2 })
    }
}

/// A surface as seen from the other one.
#[derive(Clone, Copy)]
struct Side {
    area: f64,
    /// The area within the tolerance.
    within: f64,
    /// Area times distance.
    moment: f64,
    farthest: f64,
    robust: f64,
}

impl Side {
    /// No surface.
    const ABSENT: Self = Self { area: 0.0, within: 0.0, moment: 0.0, farthest: f64::NAN, robust: f64::NAN };
    /// The other one is absent.
    const ALONE: Self = Self { area: 1.0, within: 0.0, moment: f64::INFINITY, farthest: f64::INFINITY, robust: f64::INFINITY };
}

/// Either surface as seen from the other, by the codes in `scratch`, whose shape is `grid`.
fn compare(grid: [usize; 3], spacing: [f64; 3], flat: bool, tolerance: f64, scratch: &mut SurfaceScratch) -> [Side; 2] {
    let SurfaceScratch { codes, border, distances, elements, distance, .. } = scratch;
    let areas = areas(if flat { [1.0, spacing[1], spacing[2]] } else { spacing });
    let tolerance = Tolerance::new(tolerance, grid, spacing);
    let slice = grid[1] * grid[2];
    distances.resize(codes[0].len(), 0.0);
    [0, 1].map(|own| {
        border.clear();
        border.extend(codes[1 - own].iter().map(|code| is_border(*code)));
        // Within slices for all corners, and along z for those alone that are looked at.
        for (set, out) in border.chunks_exact(slice).zip(distances.chunks_exact_mut(slice)) {
            distance_to_nearest(set, [1, grid[1], grid[2]], spacing, out, distance);
        }
        let (mut area, mut within) = (0.0, 0.0);
        elements.clear();
        for (at, code) in codes[own].iter().enumerate().filter(|(_, code)| is_border(**code)) {
            let distance = along_z(distances, slice, at, spacing[0]);
            let element = areas[usize::from(*code)];
            area += element;
            if tolerance.includes(distance, at, border) {
                within += element;
            }
            // Distances are not negative, so that their bits are in order, too.
            elements.push(u64::from(distance.to_bits()) << 8 | u64::from(*code));
        }
        elements.sort_unstable();
        let sorted = elements.iter().map(|bits| (f64::from(f32::from_bits((bits >> 8) as u32)), areas[(bits & 0xff) as usize]));
        let farthest = sorted.clone().next_back().map_or(f64::NAN, |(distance, _)| distance);
        let (mut covered, mut moment, mut robust) = (0.0, 0.0, None);
        for (distance, element) in sorted {
            covered += element;
            moment += distance * element;
            if robust.is_none() && covered / area >= ROBUST {
                robust = Some(distance);
            }
        }
        Side { area, within, moment, farthest, robust: robust.unwrap_or(farthest) }
    })
}

/// Distance from the point with index `at`, given those within every slice; `spacing` is that of slices.
fn along_z(distances: &[f32], slice: usize, at: usize, spacing: f64) -> f32 {
    let square = |at: usize| distances.get(at).map_or(f64::INFINITY, |distance| f64::from(*distance).powi(2));
    let mut nearest = square(at);
    for step in 1..distances.len() / slice {
        let away = (step as f64 * spacing).powi(2);
        if away >= nearest {
            break;
        }
        nearest = nearest.min(away + square(at + step * slice)).min(away + square(at.wrapping_sub(step * slice)));
    }
    nearest.sqrt() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(prediction: &[i16], reference: &[i16], shape: [usize; 3], values: &[i16]) -> SurfaceMetrics {
        surface_metrics(prediction, reference, shape, [2.0, 1.0, 1.0], values, 1.0, &mut SurfaceScratch::default())
    }

    #[test]
    fn regions_that_are_missing_have_no_or_infinite_distances() {
        let (empty, full) = ([0; 8], [3; 8]);
        let found = metrics(&empty, &empty, [2, 2, 2], &[3]);
        let SurfaceMetrics { nsd, hd, hd95, assd, to_reference, to_prediction, volume_difference, relative_volume_difference } = found;
        for value in [nsd, hd, hd95, assd, to_reference, to_prediction, relative_volume_difference] {
            assert!(value.is_nan());
        }
        assert_eq!(volume_difference, 0.0);

        let found = metrics(&full, &empty, [2, 2, 2], &[3]);
        assert_eq!((found.nsd, found.hd, found.hd95, found.assd), (0.0, f64::INFINITY, f64::INFINITY, f64::INFINITY));
        assert!(found.to_reference == f64::INFINITY && found.to_prediction.is_nan());
        assert_eq!((found.volume_difference, found.relative_volume_difference), (16.0, f64::INFINITY));

        let found = metrics(&empty, &full, [2, 2, 2], &[3]);
        assert_eq!((found.nsd, found.hd, found.hd95, found.assd), (0.0, f64::INFINITY, f64::INFINITY, f64::INFINITY));
        assert!(found.to_reference.is_nan() && found.to_prediction == f64::INFINITY);
        assert_eq!((found.volume_difference, found.relative_volume_difference), (-16.0, -1.0));
    }

    #[test]
    fn regions_consist_of_any_of_their_labels() {
        let (prediction, reference) = ([1, 2, 0, 5, 0, 0], [2, 1, 1, 0, 5, 0]);
        let found = metrics(&prediction, &reference, [1, 1, 6], &[1, 2]);
        let joined = metrics(&[7, 7, 0, 0, 0, 0], &[7, 7, 7, 0, 0, 0], [1, 1, 6], &[7]);
        assert_eq!(found, joined);
        assert_eq!((found.hd, found.volume_difference), (1.0, -2.0));
        assert!(metrics(&prediction, &reference, [1, 1, 6], &[]).nsd.is_nan());
    }

    #[test]
    fn any_input_of_the_right_length_is_accepted() {
        for shape in [[0, 2, 2], [2, 0, 2], [2, 2, 0]] {
            assert!(metrics(&[], &[], shape, &[1]).nsd.is_nan());
        }
        let mut scratch = SurfaceScratch::default();
        for strange in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            surface_metrics(&[1, 0, 1, 1], &[0, 1, 1, 1], [2, 1, 2], [strange; 3], &[1], 1.0, &mut scratch);
            surface_metrics(&[1, 0, 1, 1], &[0, 1, 1, 1], [1, 2, 2], [1.0; 3], &[1], strange, &mut scratch);
        }
    }
}
