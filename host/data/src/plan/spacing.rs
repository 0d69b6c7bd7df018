//! The spacing that images are resampled to, the order of their axes, and how large they are then.

use super::Error;
use crate::fingerprint::Fingerprint;
use crate::numpy::{median, per_axis, percentile};
use imaging::resample::ANISOTROPY_THRESHOLD;

/// Longer axes are taken for a mistake in the spacing.
const MAX_EDGE: f64 = 1e9;

/// Grid of `3d_fullres`, axes transposed so that the coarsest comes first.
pub(super) struct FullRes {
    /// Axis `i` is axis `transpose_forward[i]` of the image.
    pub transpose_forward: [usize; 3],
    /// The inverse.
    pub transpose_backward: [usize; 3],
    /// mm.
    pub spacing: [f64; 3],
    /// Median shape of the resampled cases; medians of an even number of cases may be halves.
    pub median_shape: [f64; 3],
}

impl FullRes {
    /// By the fingerprint, or at the spacing `target` (z, y, x of the image).
    pub(super) fn new(fingerprint: &Fingerprint, target: Option<[f64; 3]>) -> Result<Self, Error> {
        check(fingerprint)?;
        let target = target.unwrap_or_else(|| target_spacing(fingerprint));
        let transpose_forward = coarsest_first(target);
        let transpose_backward = std::array::from_fn(|axis| transpose_forward.iter().position(|other| *other == axis).unwrap_or(axis));
        let new_shapes: Vec<[f64; 3]> = fingerprint
            .shapes_after_crop
            .iter()
            .zip(&fingerprint.spacings)
            .map(|(shape, spacing)| std::array::from_fn(|axis| (spacing[axis] / target[axis] * shape[axis] as f64).round_ties_even()))
            .collect();
        let median_shape = per_axis(&new_shapes, median);
        if let Some(size) = median_shape.iter().find(|size| **size > MAX_EDGE) {
            return Err(Error::Fingerprint { found: format!("a median of {size:e} voxels along an axis at spacing {target:?}") });
        }
        // nnU-Net fails on a median of 0; preprocessing leaves every axis one voxel.
        let median_shape = transpose_forward.map(|axis| if median_shape[axis] == 0.0 { 1.0 } else { median_shape[axis] });
        Ok(Self { transpose_forward, transpose_backward, spacing: transpose_forward.map(|axis| target[axis]), median_shape })
    }

    /// `values` (z, y, x of the image) in transposed axes.
    pub(super) fn transpose(&self, values: [f64; 3]) -> [f64; 3] {
        self.transpose_forward.map(|axis| values[axis])
    }
}

fn check(fingerprint: &Fingerprint) -> Result<(), Error> {
    let (spacings, shapes) = (&fingerprint.spacings, &fingerprint.shapes_after_crop);
    if spacings.is_empty() || spacings.len() != shapes.len() {
        let found = format!("{} spacings and {} shapes", spacings.len(), shapes.len());
        return Err(Error::Fingerprint { found });
    }
    if let Some(spacing) = spacings.iter().find(|spacing| spacing.iter().any(|s| !(*s > 0.0 && s.is_finite()))) {
        return Err(Error::Fingerprint { found: format!("spacing {spacing:?}") });
    }
    match shapes.iter().find(|shape| shape.contains(&0)) {
        Some(shape) => Err(Error::Fingerprint { found: format!("shape {shape:?}") }),
        None => Ok(()),
    }
}

/// Median spacing; the tenth percentile along an axis that is much coarser than the others
/// (`ExperimentPlanner.determine_fullres_target_spacing`).
fn target_spacing(fingerprint: &Fingerprint) -> [f64; 3] {
    let sizes: Vec<[f64; 3]> = fingerprint.shapes_after_crop.iter().map(|shape| shape.map(|size| size as f64)).collect();
    let mut target = per_axis(&fingerprint.spacings, |values| percentile(values, 50.0));
    let size = per_axis(&sizes, |values| percentile(values, 50.0));
    let [worst, a, b] = coarsest_first(target);
    let coarsest_other = target[a].max(target[b]);
    let smallest_other = size[a].min(size[b]);
    let coarse = target[worst] > ANISOTROPY_THRESHOLD * coarsest_other;
    let few = size[worst] * ANISOTROPY_THRESHOLD < smallest_other;
    if coarse && few {
        let along: Vec<f64> = fingerprint.spacings.iter().map(|spacing| spacing[worst]).collect();
        let tenth = percentile(&along, 10.0);
        target[worst] = if tenth < coarsest_other { coarsest_other + 1e-5 } else { tenth };
    }
    target
}

/// The first of the coarsest axes, then the others in their order.
fn coarsest_first(spacing: [f64; 3]) -> [usize; 3] {
    match (1..3).fold(0, |best, axis| if spacing[axis] > spacing[best] { axis } else { best }) {
        0 => [0, 1, 2],
        1 => [1, 0, 2],
        _ => [2, 0, 1],
    }
}
