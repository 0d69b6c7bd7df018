//! Targets that are computed from a patch of labels, after augmentation: distances, boundaries and skeletons.
//!
//! A derived target must not be turned and scaled itself: an interpolated distance is no distance any more, and a skeleton
//! falls to pieces. Its labels are augmented, and the target is made from what comes out.
//!
//! All arrays lie in C order, `spatial` is their shape (z, y, x) and spacings are (z, y, x) in mm. 2D data has z = 1.
//!
//! A patch does not know what lies beyond its edge, and the edge counts as nothing at all, neither foreground nor border:
//! distances near it may be too long, no boundary runs along it, and a skeleton ends at it as if the structure did.

mod boundary;
mod distance;
mod skeleton;

pub use boundary::boundary;
pub use distance::{DistanceScratch, distance_to_nearest, signed_distance};
pub use skeleton::{SkeletonScratch, skeleton};

/// # Panics
/// When an array of `length` elements does not have shape `spatial`.
fn check_length(spatial: [usize; 3], length: usize) {
    assert_eq!(spatial.iter().product::<usize>(), length, "shape {spatial:?} and number of elements differ");
}
