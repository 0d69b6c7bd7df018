//! Cuts training patches out of stored volumes and varies them: nnU-Net's default pipeline, as data.
//!
//! A [`Patch`] is drawn first: where it lies, how it is turned and scaled. It says which box of the volume it shows, and nothing
//! else need be read. [`augment`] takes that box of the image and of any number of targets, and returns a patch of each. In this order:
//!
//! 1. [`Spatial`]: with probability 0.2 each, the patch is turned and scaled. Only the voxels that the patch shows are
//!    sampled (nnU-Net first copies a box large enough for every rotation, then samples that). A patch that is neither turned nor scaled is a plain crop. What lies beyond the volume is 0 in the image, -1 in
//!    labels, and the target's padding value in regression targets, which also get a mask of what lies within.
//! 2. [`Intensity`] steps, on the image alone: noise, blur, brightness, contrast, low resolution, gamma of the negative, gamma.
//! 3. [`Mirror`] along each axis.
//!
//! Every target moves with the image: one affine map and one set of flips serve them all. The image and regression targets
//! are interpolated linearly; labels by a vote of the eight surrounding voxels, weighted alike.
//!
//! Order, parameters and probabilities are those of `nnUNetTrainer.get_training_transforms` and of batchgeneratorsv2 0.3.6.
//! An [`Augmentation`] is plain data: it can be written as JSON, compared and hashed, and two equal ones that get the same
//! random numbers make the same patches. Differences to nnU-Net:
//!
//! - The corners of turned or shrunk patches show what the volume has there. nnU-Net's show zeros where its box, which is
//!   made for less scaling than is drawn, has ended.
//! - All random numbers come from one generator, and independently for each sample. nnU-Net's worker processes inherit equal
//!   states of torch's generator.
//! - Left out: elastic deformation (off in nnU-Net's default), the transforms of the cascade's previous stage, and vector
//!   fields as targets (which would have to be turned with space).

mod crop;
mod intensity;
mod interpolate;
mod mirror;
mod nearest;
mod patch;
mod random;
mod spatial;

use rand::Rng;
use serde::{Deserialize, Serialize};

pub use intensity::{Blur, Brightness, Contrast, Gamma, Intensity, LowResolution, Noise};
pub use mirror::Mirror;
pub use nearest::downsample_nearest;
pub use patch::Patch;
pub use spatial::Spatial;

use crate::Volume;

/// A pipeline with all its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Rotation and scaling.
    pub spatial: Option<Spatial>,
    /// Transforms of the image alone, in order.
    pub intensity: Vec<Step>,
    /// Flips.
    pub mirror: Option<Mirror>,
}

/// A transform that is applied to some patches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Of applying it.
    pub probability: f64,
    /// What it does.
    pub transform: Intensity,
}

impl Augmentation {
    /// Names that [`Self::named`] knows.
    pub const NAMES: [&str; 2] = ["default", "none"];

    /// A pipeline by its name, for patches of size `patch` (Z, Y, X; Z = 1 for `dims` = 2).
    pub fn named(name: &str, patch: [usize; 3], dims: usize) -> Option<Self> {
        match name {
            "default" => Some(Self::standard(patch, dims)),
            "none" => Some(Self::none()),
            _ => None,
        }
    }

    /// Patches as they are.
    pub fn none() -> Self {
        Self { spatial: None, intensity: Vec::new(), mirror: None }
    }

    /// What nnU-Net's default trainer does, for patches of size `patch` (Z, Y, X; Z = 1 for `dims` = 2).
    ///
    /// Angles depend on the patch (`configure_rotation_dummyDA_mirroring_and_inital_patch_size`): any angle in 2D unless the
    /// patch is long, up to 30 degrees in 3D, and any angle but in the plane only where a 3D patch is more than three times as wide
    /// as it is deep.
    pub fn standard(patch: [usize; 3], dims: usize) -> Self {
        let [depth, height, width] = patch;
        let longest = |sides: &[usize], than: usize, times: f64| sides.iter().any(|&side| side as f64 > times * than as f64);
        let (in_plane, degrees) = if dims == 2 {
            (true, if longest(&[height, width], height.min(width), 1.5) { 15.0 } else { 180.0 })
        } else if longest(&patch, depth, 3.0) {
            (true, 180.0)
        } else {
            (false, 30.0)
        };
        let step = |probability, transform| Step { probability, transform };
        Self {
            spatial: Some(Spatial {
                rotation_probability: 0.2,
                rotation_degrees: [-degrees, degrees],
                scaling_probability: 0.2,
                scaling: [0.7, 1.4],
                in_plane,
            }),
            intensity: vec![
                step(0.1, Intensity::Noise(Noise { sigma: [0.0, 0.1] })),
                step(0.2, Intensity::Blur(Blur { sigma: [0.5, 1.0], channel_probability: 0.5 })),
                step(0.15, Intensity::Brightness(Brightness { factor: [0.75, 1.25] })),
                step(0.15, Intensity::Contrast(Contrast { factor: [0.75, 1.25] })),
                step(0.25, Intensity::LowResolution(LowResolution { scale: [0.5, 1.0], channel_probability: 0.5, in_plane })),
                step(0.1, Intensity::Gamma(Gamma { exponent: [0.7, 1.5], inverted: true })),
                step(0.3, Intensity::Gamma(Gamma { exponent: [0.7, 1.5], inverted: false })),
            ],
            mirror: Some(Mirror { axes: if dims == 2 { vec![1, 2] } else { vec![0, 1, 2] }, probability: 0.5 }),
        }
    }
}

/// What a patch needs of a target: the same box as of its image.
#[derive(Clone, Debug)]
pub enum Target {
    /// A label map; -1 marks voxels that do not belong to the case.
    Labels(Volume<i16>),
    /// Real numbers, `pad` outside the volume.
    Regression {
        /// (C, Z, Y, X).
        values: Volume<f32>,
        /// Value outside.
        pad: f32,
    },
}

/// The patch of a target.
#[derive(Clone, Debug, PartialEq)]
pub enum AugmentedTarget {
    /// Labels, -1 outside the volume.
    Labels(Volume<i16>),
    /// Real numbers.
    Regression {
        /// (C, Z, Y, X).
        values: Volume<f32>,
        /// (1, Z, Y, X): where the volume has a voxel. Elsewhere `values` is padding.
        valid: Volume<bool>,
    },
}

/// Cuts `patch` out of `image` and `targets`, which are [`Patch::source`] of the volumes, and varies it as `augmentation` says. `rng` is the
/// one that the patch was drawn with.
///
/// # Panics
/// When image or a target do not have the size of [`Patch::source`].
pub fn augment(
    augmentation: &Augmentation,
    patch: &Patch,
    image: Volume<f32>,
    targets: Vec<Target>,
    rng: &mut impl Rng,
) -> (Volume<f32>, Vec<AugmentedTarget>) {
    let (mut image, mut targets) = patch.cut(image, targets);
    for step in &augmentation.intensity {
        if random::chance(rng, step.probability) {
            step.transform.apply(&mut image, rng);
        }
    }
    if let Some(mirror) = &augmentation.mirror {
        let flips = mirror.draw(rng);
        mirror::mirror(&mut image, flips);
        for target in &mut targets {
            match target {
                AugmentedTarget::Labels(labels) => mirror::mirror(labels, flips),
                AugmentedTarget::Regression { values, valid } => {
                    mirror::mirror(values, flips);
                    mirror::mirror(valid, flips);
                }
            }
        }
    }
    (image, targets)
}

#[cfg(test)]
mod tests;
