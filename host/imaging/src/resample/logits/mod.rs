//! Label maps of logits, which are resampled on the way and never held at their new size.
//!
//! nnU-Net resamples all classes in 64 bits before it looks for the largest, which takes tens of gigabytes for many classes. Here the
//! output is cut into tiles that fit a processor's cache, class after class goes through a tile (`tile`), and what remains of a class
//! is the label where it has won (`decision`). Tiles do not depend on each other, so threads take one after the other.

mod decision;
#[cfg(test)]
mod tests;
mod tile;

use self::decision::Decision;
use self::tile::Grid;
use super::axis::Axis;
use super::{Rule, resample_image};
use crate::{Volume, VolumeView};

/// The label of the largest logit at every voxel of the grid of `new_shape` at `new_spacing`: (1, Z, Y, X).
///
/// `logits` is (classes, Z, Y, X) at `spacing`; spacings in mm, (z, y, x). `values` has every class's label. The logits are resampled
/// with the values of [`resample_image`], to the rounding of 32 bits; of equally large ones the first wins, as in numpy's `argmax`.
/// NaN never wins, and an infinite logit can become NaN where it is interpolated. Where nothing is above -∞, the first class's label
/// stands. The result does not depend on `threads`.
///
/// Beside `logits` and the result, this takes about 1 MB a thread. An axis that the rule makes cubic is an exception: `resample_image`
/// makes one class after the other then, on one thread, and that class and the largest logits so far are held at the new size.
///
/// # Panics
/// When `logits` is empty, or `new_shape` is, or `values` does not have one label a class.
pub fn resample_argmax(
    logits: VolumeView<'_, f32>,
    new_shape: [usize; 3],
    spacing: [f64; 3],
    new_spacing: [f64; 3],
    rule: Rule,
    values: &[i16],
    threads: usize,
) -> Volume<i16> {
    resample(logits, new_shape, [spacing, new_spacing], rule, Decision::Largest(values), threads)
}

/// Regions painted over one another on the grid of `new_shape` at `new_spacing`, 0 where there is none: (1, Z, Y, X).
///
/// As [`resample_argmax`], but every class is a region on its own: region `i` is painted with `order[i]` (nnU-Net's
/// `regions_class_order`) where its logit is above 0, which is where its sigmoid is above 0.5, over the regions before it. NaN is
/// not above 0.
///
/// # Panics
/// When `logits` is empty, or `new_shape` is, or `order` does not have one label a region.
pub fn resample_regions(
    logits: VolumeView<'_, f32>,
    new_shape: [usize; 3],
    spacing: [f64; 3],
    new_spacing: [f64; 3],
    rule: Rule,
    order: &[i16],
    threads: usize,
) -> Volume<i16> {
    resample(logits, new_shape, [spacing, new_spacing], rule, Decision::Positive(order), threads)
}

fn resample(
    logits: VolumeView<'_, f32>,
    new_shape: [usize; 3],
    spacings: [[f64; 3]; 2],
    rule: Rule,
    decision: Decision<'_>,
    threads: usize,
) -> Volume<i16> {
    let [classes, shape @ ..] = logits.shape;
    assert!(logits.data.len() == classes * shape.iter().product::<usize>(), "shape {:?} and number of logits differ", logits.shape);
    assert!(!logits.data.is_empty() && !new_shape.contains(&0), "no logits of shape {:?}, or no voxel of {new_shape:?}", logits.shape);
    assert_eq!(decision.labels().len(), classes, "one label a class");
    let separate = rule.separate_axis(spacings[0], spacings[1]);
    let axes = std::array::from_fn(|axis| {
        let order = if separate == Some(axis) { rule.order_z } else { rule.order };
        Axis::new(shape[axis], new_shape[axis], order)
    });
    let mut labels = vec![0; new_shape.iter().product()];
    if axes.iter().any(|axis| matches!(axis, Axis::Cubic(_))) {
        class_by_class(logits, new_shape, spacings, rule, decision, &mut labels);
    } else {
        Grid { logits, new_shape, axes, decision }.fill(&mut labels, threads);
    }
    Volume::new([1, new_shape[0], new_shape[1], new_shape[2]], labels)
}

/// Splines reach along whole lines, which no tile holds.
fn class_by_class(
    logits: VolumeView<'_, f32>,
    new_shape: [usize; 3],
    [spacing, new_spacing]: [[f64; 3]; 2],
    rule: Rule,
    decision: Decision<'_>,
    labels: &mut [i16],
) {
    let [classes, depth, height, width] = logits.shape;
    let mut largest = vec![0.0; labels.len()];
    decision.start(&mut largest, labels);
    for (class, logits) in logits.data.chunks_exact(logits.data.len() / classes).enumerate() {
        let class_logits = Volume::new([1, depth, height, width], logits.to_vec());
        let resampled = resample_image(&class_logits, new_shape, spacing, new_spacing, rule);
        decision.take(class, resampled.data(), &mut largest, labels);
    }
}
