//! What moves voxels: rotation and scaling, turns by right angles, exchanged axes, flips.
//!
//! One file each, and its line in `Augmentation::moves`. All of them together are one map from the patch to the stored volume, [`Moved`], so that only
//! what the patch shows is sampled, and once. [`Affine`] is the part that interpolates, [`Orientation`] the part that maps voxels onto voxels.

mod affine;
mod mirror;
mod orientation;
mod rotate_scale;
mod turn;

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::check::{Error, Place};
pub(super) use affine::Affine;
pub use mirror::Mirror;
pub(super) use orientation::Orientation;
pub use rotate_scale::Spatial;
pub use turn::Turn;

/// A transform that moves voxels: ranges that its numbers are drawn from.
pub(super) trait Move {
    /// Draws its numbers for a patch of size `patch` (Z, Y, X), and adds it to what was done before.
    fn add(&self, moved: &mut Moved, patch: [usize; 3], rng: &mut dyn Rng);

    /// Refuses ranges that cannot be for patches of size `patch`; `place` names its keys.
    fn check(&self, place: &Place, patch: [usize; 3]) -> Result<(), Error>;
}

/// All moves of one patch.
#[derive(Default)]
pub(super) struct Moved {
    /// First it is turned and scaled; none where it is neither.
    pub affine: Option<Affine>,
    /// Then its axes are reordered and flipped.
    pub orientation: Orientation,
    /// Size (Z, Y, X) of the box that nnU-Net loads, where nothing beyond is to be seen.
    pub loaded: Option<[usize; 3]>,
    /// Between voxels of images and regression targets.
    pub image: Interpolation,
    /// Between voxels of label maps.
    pub labels: Interpolation,
}

impl Moved {
    /// Adds `affine`, which must come before all that only reorient.
    fn interpolate(&mut self, affine: Affine) {
        assert!(self.affine.is_none() && self.orientation == Orientation::default(), "one affine map, and first");
        self.affine = Some(affine);
    }

    /// Adds `orientation`.
    fn reorient(&mut self, orientation: &Orientation) {
        self.orientation = self.orientation.then(orientation);
    }
}

/// Between voxels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Order 1.
    #[default]
    Linear,
    /// Order 0.
    Nearest,
}
