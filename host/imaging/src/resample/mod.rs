//! Resampling to another voxel grid with nnU-Net's numbers (`default_resampling.py` and, under it, `skimage.transform.resize` and
//! `scipy.ndimage.zoom(grid_mode=True, mode='nearest')`).
//!
//! Both grids cover the same box, so output voxel `i` lies at `(i + 0.5) * input_size / output_size - 0.5`. Where voxels are much
//! longer along one axis than along the others, a [`Rule`] treats that axis apart: the planes across it are interpolated one by one,
//! then the axis on its own, as a rule by taking nearest slices.
//!
//! What the voxels along an axis are made of is worked out once, in `axis`. `image` takes a channel through its planes (`plane`) and then
//! along z, writing to the output as it goes; `spline` is the filter that cubic interpolation needs, `range` what an image is clipped to.
//! `labels` does label maps, where interpolation is a vote, and `vote` does them as torch counts. `logits` turns a network's logits into a
//! label map, class by class and without holding them at the new size.

mod axis;
mod image;
mod labels;
mod logits;
mod plane;
mod range;
mod spline;
mod vote;

pub use image::resample_image;
pub use labels::resample_labels;
pub use logits::{resample_argmax, resample_regions};
pub use vote::Vote;

/// Spacings that differ by more than this factor make nnU-Net treat the longest axis apart (`ANISO_THRESHOLD`).
pub const ANISOTROPY_THRESHOLD: f64 = 3.0;

/// Degree of the interpolating spline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Degree 0: the nearest voxel.
    Nearest,
    /// The same as torch's `nearest-exact` computes it, in 32 bits.
    NearestExact,
    /// Degree 1: what nnU-Net resamples labels, logits and probabilities with.
    Linear,
    /// Degree 3: what nnU-Net resamples images with.
    Cubic,
}

impl Order {
    /// The order that a plans file writes as `degree`; `None` when there is no such order here.
    pub fn from_degree(degree: u8) -> Option<Self> {
        match degree {
            0 => Some(Self::Nearest),
            1 => Some(Self::Linear),
            3 => Some(Self::Cubic),
            _ => None,
        }
    }
}

/// How to resample: the keyword arguments of nnU-Net's `resample_data_or_seg_to_shape` and `resample_torch_fornnunet`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Degree along all axes, or in the planes across the separate axis (`order`).
    pub order: Order,
    /// Degree along the separate axis, if there is one (`order_z`).
    pub order_z: Order,
    /// Whether the axis of the longest spacing is separate; `None` leaves it to the spacings (`force_separate_z`).
    pub separate: Option<bool>,
    /// Spacings that differ by more than this factor have a separate axis (`separate_z_anisotropy_threshold`).
    pub threshold: f64,
    /// How labels are resampled.
    pub vote: Vote,
}

impl Rule {
    /// What nnU-Net's planners write for images.
    pub const CUBIC: Self =
        Self { order: Order::Cubic, order_z: Order::Nearest, separate: None, threshold: ANISOTROPY_THRESHOLD, vote: Vote::Share };
    /// What nnU-Net's planners write for labels and for logits.
    pub const LINEAR: Self = Self { order: Order::Linear, ..Self::CUBIC };
    /// What nnU-Net's planners write for images, labels and logits that torch resamples.
    pub const TORCH: Self = Self { order: Order::Linear, order_z: Order::NearestExact, vote: Vote::RoundedShare, ..Self::CUBIC };

    /// The separate axis, if any: the one with the longest spacing, provided that no other is as long. The current spacing decides,
    /// and unless it is anisotropic or the rule forces it, the new one (`determine_do_sep_z_and_axis`).
    fn separate_axis(self, spacing: [f64; 3], new_spacing: [f64; 3]) -> Option<usize> {
        let longest = |spacing: [f64; 3]| spacing.into_iter().fold(f64::MIN, f64::max);
        let anisotropic = |spacing: [f64; 3]| longest(spacing) / spacing.into_iter().fold(f64::MAX, f64::min) > self.threshold;
        let deciding = match self.separate {
            Some(true) => spacing,
            Some(false) => return None,
            None => [spacing, new_spacing].into_iter().find(|&candidate| anisotropic(candidate))?,
        };
        let mut axes = (0..3).filter(|&axis| longest(deciding) / deciding[axis] == 1.0);
        let axis = axes.next();
        if axes.next().is_some() { None } else { axis }
    }
}

/// The shape on a grid of `new_spacing` that covers what `shape` covers at `spacing`.
///
/// Halves round to even, as in Python (`compute_new_shape`). No axis gets shorter than one voxel: an empty image helps nobody.
pub fn new_shape(shape: [usize; 3], spacing: [f64; 3], new_spacing: [f64; 3]) -> [usize; 3] {
    std::array::from_fn(|axis| ((spacing[axis] / new_spacing[axis] * shape[axis] as f64).round_ties_even() as usize).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_shapes_round_halves_to_even() {
        assert_eq!(new_shape([5, 7, 9], [1.0, 1.0, 1.0], [2.0, 2.0, 2.0]), [2, 4, 4]);
        assert_eq!(new_shape([1, 10, 10], [1.0, 1.0, 1.0], [9.0, 1.0, 0.5]), [1, 10, 20]);
    }

    #[test]
    fn one_long_axis_is_separate_and_two_are_not() {
        let separate_axis = |spacing, new_spacing| Rule::CUBIC.separate_axis(spacing, new_spacing);
        assert_eq!(separate_axis([5.0, 1.0, 1.0], [1.0; 3]), Some(0));
        assert_eq!(separate_axis([1.0; 3], [1.0, 3.5, 1.0]), Some(1));
        assert_eq!(separate_axis([3.0, 1.0, 1.0], [1.0; 3]), None);
        assert_eq!(separate_axis([0.24, 1.25, 1.25], [1.0; 3]), None);
        // The current spacing has decided, so the new one is not asked.
        assert_eq!(separate_axis([0.24, 1.25, 1.25], [5.0, 1.0, 1.0]), None);
    }

    #[test]
    fn a_rule_can_force_or_forbid_a_separate_axis() {
        let force = Rule { separate: Some(true), ..Rule::CUBIC };
        assert_eq!(force.separate_axis([1.0, 1.0, 1.5], [9.0, 1.0, 1.0]), Some(2));
        assert_eq!(force.separate_axis([1.0; 3], [9.0, 1.0, 1.0]), None);
        let forbid = Rule { separate: Some(false), ..Rule::CUBIC };
        assert_eq!(forbid.separate_axis([5.0, 1.0, 1.0], [1.0; 3]), None);
    }
}
