//! Turns by any angle, and scaling.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::super::check::{Error, Place};
use super::super::random::{chance, uniform};
use super::affine::Affine;
use super::{Interpolation, Move, Moved};

/// Turns and scales around the centre of the patch, each with a probability of its own (batchgeneratorsv2
/// `spatial/spatial.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spatial {
    /// Of turning at all.
    pub rotation_probability: f64,
    /// Lowest and highest angle; drawn for every axis on its own.
    pub rotation_degrees: [f64; 2],
    /// For each axis, of turning about it when the patch is turned at all.
    #[serde(default = "always")]
    pub axis_probability: f64,
    /// Of scaling at all.
    pub scaling_probability: f64,
    /// Lowest and highest factor. Greater factors show more of the volume: structures become smaller.
    pub scaling: [f64; 2],
    /// Whether every axis has a factor of its own.
    #[serde(default)]
    pub scaling_per_axis: bool,
    /// Whether slices stay slices: rotation about z only, and no scaling along it. For 2D patches and for 3D patches that are
    /// much thinner than wide (nnU-Net's "dummy 2D" augmentation).
    pub in_plane: bool,
    /// How images and regression targets are interpolated.
    #[serde(default)]
    pub image: Interpolation,
    /// How label maps are interpolated: linearly means a vote of the eight surrounding voxels.
    #[serde(default)]
    pub labels: Interpolation,
    /// A turned or scaled patch shows nothing beyond the box that nnU-Net loads, which it makes for this smallest factor: images 0, labels 0. The
    /// factor is 0.85 in the default trainer, though factors go to 0.7, and 0.7 in DA5. None: a patch shows whatever the volume has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub box_scale: Option<f64>,
}

fn always() -> f64 {
    1.0
}

impl Spatial {
    /// Size of the box (Z, Y, X) that nnU-Net loads for a patch of size `patch`, where that is asked for (`compute_initial_patch_size.py`).
    pub(in super::super) fn loaded(&self, patch: [usize; 3]) -> Option<[usize; 3]> {
        let scale = self.box_scale?;
        let [low, high] = self.rotation_degrees;
        let angle = low.abs().max(high.abs()).min(90.0).to_radians();
        let (sin, cos) = angle.sin_cos();
        let [z, y, x] = patch.map(|size| size as f64);
        // Each angle alone moves the far corner of the patch; what is largest counts. 2D patches are turned in their plane only.
        let turned: &[[f64; 3]] = match patch[0] {
            1 => &[[z, y * cos + x * sin, x * cos - y * sin]],
            _ => &[
                [z, y * cos + x * sin, x * cos - y * sin],
                [z * cos - x * sin, y, z * sin + x * cos],
                [z * cos + y * sin, y * cos - z * sin, x],
            ],
        };
        let largest = turned.iter().fold([z, y, x], |largest, turned| [0, 1, 2].map(|axis| largest[axis].max(turned[axis].abs())));
        let mut size = largest.map(|size| (size / scale) as usize);
        if self.in_plane {
            size[0] = patch[0];
        }
        Some(size)
    }

    /// Draws a transform; none when the patch is neither turned nor scaled.
    pub(in super::super) fn draw(&self, rng: &mut impl Rng) -> Option<Affine> {
        let rotate = chance(rng, self.rotation_probability);
        let scale = chance(rng, self.scaling_probability);
        if !rotate && !scale {
            return None;
        }
        let mut angles = [0.0; 3];
        if rotate {
            for angle in &mut angles[..if self.in_plane { 1 } else { 3 }] {
                let drawn = uniform(rng, self.rotation_degrees).to_radians();
                *angle = if chance(rng, self.axis_probability) { drawn } else { 0.0 };
            }
        }
        let mut factors = [1.0; 3];
        if scale {
            factors = [uniform(rng, self.scaling); 3];
            if self.scaling_per_axis {
                factors[1..].fill_with(|| uniform(rng, self.scaling));
            }
            if self.in_plane {
                factors[0] = 1.0;
            }
        }
        Some(Affine::new(angles, factors))
    }
}

impl Move for Spatial {
    fn add(&self, moved: &mut Moved, patch: [usize; 3], mut rng: &mut dyn Rng) {
        if let Some(affine) = self.draw(&mut rng) {
            moved.interpolate(affine);
        }
        (moved.loaded, moved.image, moved.labels) = (self.loaded(patch), self.image, self.labels);
    }

    fn check(&self, place: &Place, patch: [usize; 3]) -> Result<(), Error> {
        place.probability("rotation_probability", self.rotation_probability)?;
        place.range("rotation_degrees", self.rotation_degrees, -360.0, 360.0)?;
        place.probability("axis_probability", self.axis_probability)?;
        place.probability("scaling_probability", self.scaling_probability)?;
        place.range("scaling", self.scaling, 0.05, 20.0)?;
        let possible = self.box_scale.is_none_or(|scale| (0.05..=1.0).contains(&scale));
        place.require(possible, "box_scale", self.box_scale, "none, or a factor from 0.05 to 1")?;
        place.require(self.in_plane || patch[0] > 1, "in_plane", false, "true, since patches have one slice")
    }
}
