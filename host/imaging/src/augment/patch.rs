//! Where a patch lies in a volume, which box of that it shows, and how it is cut out of that box.

use rand::Rng;

use super::crop::{crop_and_pad, inside};
use super::interpolate::Grid;
use super::spatial::Affine;
use super::{Augmentation, AugmentedTarget, Target};
use crate::{BoundingBox, Volume};

/// A patch that is placed, turned and scaled, but not read yet.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Spatial shape of the whole volume.
    pub(super) spatial: [usize; 3],
    /// Lower corner, may lie outside.
    origin: [i64; 3],
    size: [usize; 3],
    /// Around the patch's centre; none where it is neither turned nor scaled.
    affine: Option<Affine>,
    pub(super) source: BoundingBox,
}

impl Patch {
    /// Places the patch of size `size` whose lower corner is voxel `origin` (which may lie outside) in a volume of spatial shape
    /// `spatial`, turned and scaled as `augmentation` says.
    pub fn draw(augmentation: &Augmentation, spatial: [usize; 3], origin: [i64; 3], size: [usize; 3], rng: &mut impl Rng) -> Self {
        let affine = augmentation.spatial.as_ref().and_then(|spatial| spatial.draw(rng));
        let (lower, upper) = match affine {
            None => (origin, std::array::from_fn(|axis| origin[axis] + size[axis] as i64)),
            Some(affine) => bounds(&affine, origin, size),
        };
        let upper: [usize; 3] = std::array::from_fn(|axis| upper[axis].clamp(0, spatial[axis] as i64) as usize);
        let lower = std::array::from_fn(|axis| lower[axis].clamp(0, upper[axis] as i64) as usize);
        Self { spatial, origin, size, affine, source: BoundingBox { lower, upper } }
    }

    /// The part of the volume that is needed to cut the patch, empty when the patch lies outside.
    pub fn source(&self) -> &BoundingBox {
        &self.source
    }

    /// Cuts the patch out of image and targets, which are [`Self::source`] of the volumes.
    pub(super) fn cut(&self, image: Volume<f32>, targets: Vec<Target>) -> (Volume<f32>, Vec<AugmentedTarget>) {
        const OUTSIDE_IMAGE: f32 = 0.0;
        /// nnU-Net's mark for voxels that do not belong to the case.
        const OUTSIDE_LABELS: i16 = -1;
        for spatial in std::iter::once(image.spatial()).chain(targets.iter().map(Target::spatial)) {
            assert_eq!(spatial, self.source.size(), "a volume is not what the patch needs");
        }
        let targets = targets.into_iter();
        let Some(affine) = self.affine else {
            let origin = std::array::from_fn(|axis| self.origin[axis] - self.source.lower[axis] as i64);
            let cut_target = |target| match target {
                Target::Labels(labels) => AugmentedTarget::Labels(crop_and_pad(labels, origin, self.size, OUTSIDE_LABELS)),
                Target::Regression { values, pad } => AugmentedTarget::Regression {
                    values: crop_and_pad(values, origin, self.size, pad),
                    valid: inside(self.spatial, self.origin, self.size),
                },
            };
            return (crop_and_pad(image, origin, self.size, OUTSIDE_IMAGE), targets.map(cut_target).collect());
        };
        let centre = centre(self.origin, self.size);
        let grid = Grid { patch: self.size, centre, affine, spatial: self.spatial, lower: self.source.lower };
        let cut_target = |target| match target {
            Target::Labels(labels) => AugmentedTarget::Labels(grid.labels(labels.view(), OUTSIDE_LABELS)),
            Target::Regression { values, pad } => {
                AugmentedTarget::Regression { values: grid.linear(values.view(), pad), valid: grid.inside() }
            }
        };
        (grid.linear(image.view(), OUTSIDE_IMAGE), targets.map(cut_target).collect())
    }
}

impl Target {
    fn spatial(&self) -> [usize; 3] {
        match self {
            Self::Labels(labels) => labels.spatial(),
            Self::Regression { values, .. } => values.spatial(),
        }
    }
}

fn centre(origin: [i64; 3], size: [usize; 3]) -> [f64; 3] {
    std::array::from_fn(|axis| origin[axis] as f64 + (size[axis] as f64 - 1.0) / 2.0)
}

/// Box around all voxels that are blended into those of a turned patch, `upper` not included. The extremes of a linear map lie at
/// the corners of the patch; one voxel more on each side covers what rounding does to positions in between.
fn bounds(affine: &Affine, origin: [i64; 3], size: [usize; 3]) -> ([i64; 3], [i64; 3]) {
    let centre = centre(origin, size);
    let half = size.map(|n| (n as f64 - 1.0) / 2.0);
    let reach: [f64; 3] = std::array::from_fn(|axis| (0..3).map(|from| affine.column(from)[axis].abs() * half[from]).sum());
    let lower = std::array::from_fn(|axis| (centre[axis] - reach[axis]).floor() as i64 - 1);
    let upper = std::array::from_fn(|axis| (centre[axis] + reach[axis]).floor() as i64 + 3);
    (lower, upper)
}
