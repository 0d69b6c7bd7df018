//! Resampling to another voxel grid with nnU-Net's numbers (`default_resampling.py` and, under it, `skimage.transform.resize` and
//! `scipy.ndimage.zoom(grid_mode=True, mode='nearest')`).
//!
//! Both grids cover the same box, so output voxel `i` lies at `(i + 0.5) * input_size / output_size - 0.5`. Where voxels are much
//! longer along one axis than along the others, that axis takes its nearest slice and only the planes are interpolated.
//! `interpolate` does images, `vote` label maps; what a line of voxels needs along one axis is worked out once, in `axis`.

mod axis;
mod interpolate;
mod vote;

pub use interpolate::resample_image;
pub use vote::resample_labels;

/// Spacings that differ by more than this factor make nnU-Net treat the longest axis apart (`ANISO_THRESHOLD`).
const ANISOTROPY_THRESHOLD: f64 = 3.0;

/// Degree of the interpolating spline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Degree 1: what nnU-Net resamples logits and probabilities with.
    Linear,
    /// Degree 3: what nnU-Net resamples images with.
    Cubic,
}

/// The shape on a grid of `new_spacing` that covers what `shape` covers at `spacing`.
///
/// Halves round to even, as in Python (`compute_new_shape`). No axis gets shorter than one voxel: an empty image helps nobody.
pub fn new_shape(shape: [usize; 3], spacing: [f64; 3], new_spacing: [f64; 3]) -> [usize; 3] {
    std::array::from_fn(|axis| ((spacing[axis] / new_spacing[axis] * shape[axis] as f64).round_ties_even() as usize).max(1))
}

/// The axis that is treated apart, if any: the longest of an anisotropic spacing, provided that no other is as long. The current
/// spacing decides, and when it is isotropic, the new one (`determine_do_sep_z_and_axis` with `force_separate_z=None`).
fn separate_axis(spacing: [f64; 3], new_spacing: [f64; 3]) -> Option<usize> {
    let longest = |spacing: [f64; 3]| spacing.into_iter().fold(f64::MIN, f64::max);
    let anisotropic = |spacing: [f64; 3]| longest(spacing) / spacing.into_iter().fold(f64::MAX, f64::min) > ANISOTROPY_THRESHOLD;
    let deciding = [spacing, new_spacing].into_iter().find(|&candidate| anisotropic(candidate))?;
    let mut axes = (0..3).filter(|&axis| longest(deciding) / deciding[axis] == 1.0);
    let axis = axes.next();
    if axes.next().is_some() { None } else { axis }
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
        assert_eq!(separate_axis([5.0, 1.0, 1.0], [1.0; 3]), Some(0));
        assert_eq!(separate_axis([1.0; 3], [1.0, 3.5, 1.0]), Some(1));
        assert_eq!(separate_axis([3.0, 1.0, 1.0], [1.0; 3]), None);
        assert_eq!(separate_axis([0.24, 1.25, 1.25], [1.0; 3]), None);
        // The current spacing has decided, so the new one is not asked.
        assert_eq!(separate_axis([0.24, 1.25, 1.25], [5.0, 1.0, 1.0]), None);
    }
}
