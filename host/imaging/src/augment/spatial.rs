//! What moves voxels: rotation and scaling, turns by right angles, exchanged axes, flips.
//!
//! All of them together are one map from the patch to the stored volume, so that only what the patch shows is sampled, and once.
//! [`Affine`] is the part that interpolates, [`Orientation`] the part that maps voxels onto voxels.

use rand::{Rng, RngExt};
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

impl Spatial {
    /// Size of the box (Z, Y, X) that nnU-Net loads for a patch of size `patch`, where that is asked for (`compute_initial_patch_size.py`).
    pub(super) fn loaded(&self, patch: [usize; 3]) -> Option<[usize; 3]> {
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
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Option<Affine> {
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

/// Turns by right angles and exchanges axes, so that voxels stay voxels (batchgeneratorsv2 `spatial/rot90.py`,
/// `spatial/transpose.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Of turning in a plane of two of the axes, by 0, 90, 180 or 270 degrees.
    pub turn_probability: f64,
    /// Of putting the axes into a random order.
    pub exchange_probability: f64,
    /// Spatial axes that take part: 0 is z, 1 is y, 2 is x. The patch must have the same size along all of them.
    pub axes: Vec<usize>,
}

impl Turn {
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Orientation {
        let mut orientation = Orientation::default();
        let axes = &self.axes;
        if axes.len() < 2 {
            return orientation;
        }
        if chance(rng, self.turn_probability) {
            let quarters = rng.random_range(0..4);
            let first = rng.random_range(0..axes.len());
            let second = (first + rng.random_range(1..axes.len())) % axes.len();
            let (a, b) = (axes[first.min(second)], axes[first.max(second)]);
            for _ in 0..quarters {
                orientation = orientation.then(&Orientation::quarter_turn(a, b));
            }
        }
        if chance(rng, self.exchange_probability) {
            let mut order = [0, 1, 2];
            for last in (1..axes.len()).rev() {
                order.swap(axes[last], axes[rng.random_range(0..=last)]);
            }
            orientation = orientation.then(&Orientation { steps: order.map(|axis| (axis, 1)) });
        }
        orientation
    }
}

/// Flips each of `axes` on its own with `probability` (batchgeneratorsv2 `spatial/mirroring.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Spatial axes that may be flipped: 0 is z, 1 is y, 2 is x. Prediction may average over flips of these, too.
    pub axes: Vec<usize>,
    /// For each axis.
    pub probability: f64,
}

impl Mirror {
    pub(super) fn draw(&self, rng: &mut impl Rng) -> Orientation {
        let mut flips = Orientation::default();
        for &axis in &self.axes {
            if chance(rng, self.probability) {
                flips.steps[axis].1 = -1;
            }
        }
        flips
    }
}

/// Linear map of offsets (z, y, x) to the patch's centre.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(super) struct Affine {
    pub matrix: [[f64; 3]; 3],
}

impl Affine {
    pub(super) fn identity() -> Self {
        Self { matrix: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] }
    }

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
        Self { matrix }
    }
}

fn product(a: &[[f64; 3]; 3], b: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

/// Which way the axes of a patch run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize))]
pub(super) struct Orientation {
    /// For each axis of the patch, the axis before that it runs along, and in which direction, 1 or -1.
    pub steps: [(usize, i64); 3],
}

impl Default for Orientation {
    fn default() -> Self {
        Self { steps: [(0, 1), (1, 1), (2, 1)] }
    }
}

impl Orientation {
    /// `torch.rot90` by one quarter: the first axis takes the place of the second, reversed.
    fn quarter_turn(first: usize, second: usize) -> Self {
        let mut turn = Self::default();
        turn.steps[first] = (second, -1);
        turn.steps[second] = (first, 1);
        turn
    }

    /// This one, and `next` of what comes out of it.
    pub(super) fn then(&self, next: &Self) -> Self {
        Self {
            steps: next.steps.map(|(axis, direction)| {
                let (source, own) = self.steps[axis];
                (source, own * direction)
            }),
        }
    }

    /// The matrix of `affine` for patches that are reoriented after it: from an offset in the patch to one in the volume.
    pub(super) fn after(&self, affine: &Affine) -> [[f64; 3]; 3] {
        affine.matrix.map(|row| self.steps.map(|(axis, direction)| row[axis] * direction as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reorients a cube of side 3.
    fn apply(orientation: &Orientation, cube: &[usize]) -> Vec<usize> {
        let place = |index: usize| [index / 9, index / 3 % 3, index % 3];
        (0..27)
            .map(|index| {
                let mut source = [0; 3];
                for ((axis, direction), at) in orientation.steps.iter().zip(place(index)) {
                    source[*axis] = if *direction > 0 { at } else { 2 - at };
                }
                cube[(source[0] * 3 + source[1]) * 3 + source[2]]
            })
            .collect()
    }

    #[test]
    fn a_quarter_turn_is_that_of_torch_and_four_are_none() {
        let cube: Vec<usize> = (0..27).collect();
        let turn = Orientation::quarter_turn(1, 2);
        // torch.rot90(torch.arange(27).view(3, 3, 3), 1, (1, 2))[0]
        assert_eq!(apply(&turn, &cube)[..9], [2, 5, 8, 1, 4, 7, 0, 3, 6]);
        assert_eq!((0..4).fold(Orientation::default(), |all, _| all.then(&turn)), Orientation::default());
    }

    #[test]
    fn orientations_one_after_the_other_are_one() {
        let cube: Vec<usize> = (0..27).collect();
        let first = Orientation::quarter_turn(0, 2);
        let second = Orientation { steps: [(1, 1), (2, -1), (0, 1)] };
        assert_eq!(apply(&first.then(&second), &cube), apply(&second, &apply(&first, &cube)));
    }
}
