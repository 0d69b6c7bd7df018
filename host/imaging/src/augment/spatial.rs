//! Rotation and scaling: the map from a patch to the stored volume.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::random::{chance, uniform};

/// Turns and scales around the centre of the patch, each with a probability of its own (batchgeneratorsv2
/// `spatial/spatial.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spatial {
    /// Of turning at all.
    pub rotation_probability: f64,
    /// Lowest and highest angle; drawn for every axis on its own.
    pub rotation_degrees: [f64; 2],
    /// Of scaling at all.
    pub scaling_probability: f64,
    /// Lowest and highest factor, one for all axes. Greater factors show more of the volume: structures become smaller.
    pub scaling: [f64; 2],
    /// Whether slices stay slices: rotation about z only, and no scaling along it. For 2D patches and for 3D patches that are
    /// much thinner than wide (nnU-Net's "dummy 2D" augmentation).
    pub in_plane: bool,
}

impl Spatial {
    /// Draws a transform; none when the patch is neither turned nor scaled.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Option<Affine> {
        let rotate = chance(rng, self.rotation_probability);
        let scale = chance(rng, self.scaling_probability);
        if !rotate && !scale {
            return None;
        }
        let mut angles = [0.0; 3];
        if rotate {
            let turned = if self.in_plane { 1 } else { 3 };
            angles[..turned].fill_with(|| uniform(rng, self.rotation_degrees).to_radians());
        }
        let factor = if scale { uniform(rng, self.scaling) } else { 1.0 };
        Some(Affine::new(angles, [if self.in_plane { 1.0 } else { factor }, factor, factor]))
    }
}

/// Linear map of offsets (z, y, x) to the patch's centre.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Affine([[f64; 3]; 3]);

impl Affine {
    /// Scales by `factors`, then turns by `angles` (radians) about z, then y, then x: nnU-Net's `Rz @ Ry @ Rx @ S`, whose
    /// "x" is the first array axis. With angles about the first axis only it is nnU-Net's 2D matrix.
    pub(super) fn new(angles: [f64; 3], factors: [f64; 3]) -> Self {
        let [(s0, c0), (s1, c1), (s2, c2)] = angles.map(f64::sin_cos);
        let about_first = [[1.0, 0.0, 0.0], [0.0, c0, -s0], [0.0, s0, c0]];
        let about_second = [[c1, 0.0, s1], [0.0, 1.0, 0.0], [-s1, 0.0, c1]];
        let about_third = [[c2, -s2, 0.0], [s2, c2, 0.0], [0.0, 0.0, 1.0]];
        let mut matrix = product(&product(&about_third, &about_second), &about_first);
        for row in &mut matrix {
            for (value, factor) in row.iter_mut().zip(factors) {
                *value *= factor;
            }
        }
        Self(matrix)
    }

    pub(super) fn apply(&self, offset: [f64; 3]) -> [f64; 3] {
        self.0.map(|row| row[0] * offset[0] + row[1] * offset[1] + row[2] * offset[2])
    }

    /// What one step along `axis` of the patch is in the source.
    pub(super) fn column(&self, axis: usize) -> [f64; 3] {
        self.0.map(|row| row[axis])
    }

    /// Whether every slice of the patch lies on a slice of the source.
    pub(super) fn keeps_slices(&self) -> bool {
        self.0[0] == [1.0, 0.0, 0.0]
    }
}

fn product(a: &[[f64; 3]; 3], b: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}
