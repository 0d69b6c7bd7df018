//! What is done to training patches, as data: nnU-Net's pipelines by name, or any other from a file.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::intensity::{
    Blur, Brightness, BrightnessGradient, BrightnessShift, BumpRange, Contrast, Gamma, Intensity, LocalGamma, LowResolution, Median, Noise,
    Operation, Rectangles, Sharpen,
};
use super::previous_stage::PreviousStage;
use super::random::chance;
use super::spatial::{Interpolation, Mirror, Move, Spatial, Turn};

/// A pipeline with all its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Rotation and scaling.
    pub spatial: Option<Spatial>,
    /// Turns by right angles, and exchanged axes.
    pub turn: Option<Turn>,
    /// Flips.
    pub mirror: Option<Mirror>,
    /// Transforms of the image alone, in order.
    pub intensity: Vec<Step>,
    /// What a cascade does to the segmentation of its previous stage.
    pub previous_stage: Option<PreviousStage>,
    /// Images that were normalised within a mask are set to zero outside it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub mask: bool,
}

fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
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

impl Step {
    /// Calls `push` with every channel that is changed, and how.
    pub(super) fn draw<R: Rng>(&self, channels: usize, size: [usize; 3], rng: &mut R, push: &mut dyn FnMut(usize, Operation)) {
        if !chance(rng, self.probability) {
            return;
        }
        match &self.transform {
            Intensity::OneOf(steps) => {
                if let Some(step) = steps.get(rng.random_range(0..steps.len().max(1))) {
                    step.draw(channels, size, rng, push);
                }
            }
            transform => transform.draw(channels, size, rng, push),
        }
    }
}

fn step(probability: f64, transform: Intensity) -> Step {
    Step { probability, transform }
}

impl Augmentation {
    /// Names that [`Self::named`] knows.
    pub const NAMES: [&str; 3] = ["default", "da5", "none"];

    /// A pipeline by its name, for patches of size `patch` (Z, Y, X; Z = 1 for `dims` = 2).
    pub fn named(name: &str, patch: [usize; 3], dims: usize) -> Option<Self> {
        match name {
            "default" => Some(Self::standard(patch, dims)),
            "da5" => Some(Self::da5(patch, dims)),
            "none" => Some(Self::none()),
            _ => None,
        }
    }

    /// What moves voxels, in order, by key.
    pub(super) fn moves(&self) -> [(&'static str, Option<&dyn Move>); 3] {
        // By name, so that a new field is not forgotten here.
        let Self { spatial, turn, mirror, intensity: _, previous_stage: _, mask: _ } = self;
        [
            ("spatial", spatial.as_ref().map(|m| m as _)),
            ("turn", turn.as_ref().map(|m| m as _)),
            ("mirror", mirror.as_ref().map(|m| m as _)),
        ]
    }

    /// Patches as they are; also what nnU-Net's `nnUNetTrainerNoDA` does, and what validation patches get.
    pub fn none() -> Self {
        Self { spatial: None, turn: None, mirror: None, intensity: Vec::new(), previous_stage: None, mask: false }
    }

    /// What nnU-Net's default trainer does, for patches of size `patch` (Z, Y, X; Z = 1 for `dims` = 2).
    pub fn standard(patch: [usize; 3], dims: usize) -> Self {
        let (in_plane, degrees) = angles(patch, dims);
        Self {
            spatial: Some(Spatial {
                rotation_probability: 0.2,
                rotation_degrees: [-degrees, degrees],
                axis_probability: 1.0,
                scaling_probability: 0.2,
                scaling: [0.7, 1.4],
                scaling_per_axis: false,
                in_plane,
                image: Interpolation::Linear,
                labels: Interpolation::Linear,
                box_scale: None,
            }),
            turn: None,
            mirror: Some(mirror(dims)),
            intensity: vec![
                step(0.1, Intensity::Noise(Noise { sigma: [0.0, 0.1] })),
                step(0.2, Intensity::Blur(Blur { sigma: [0.5, 1.0], sigma_per_axis: true, channel_probability: 0.5 })),
                step(0.15, Intensity::Brightness(Brightness { factor: [0.75, 1.25] })),
                step(0.15, Intensity::Contrast(Contrast { factor: [0.75, 1.25], keep_range: true, channel_probability: 1.0 })),
                step(0.25, Intensity::LowResolution(LowResolution { scale: [0.5, 1.0], channel_probability: 0.5, in_plane })),
                step(0.1, Intensity::Gamma(Gamma { exponent: [0.7, 1.5], inverted: true })),
                step(0.3, Intensity::Gamma(Gamma { exponent: [0.7, 1.5], inverted: false })),
            ],
            previous_stage: Some(PreviousStage::standard()),
            mask: true,
        }
    }

    /// What nnU-Net's `nnUNetTrainerDA5` does, for patches of size `patch` (Z, Y, X; Z = 1 for `dims` = 2).
    pub fn da5(patch: [usize; 3], dims: usize) -> Self {
        let (in_plane, degrees) = angles(patch, dims);
        let contrast = |keep_range| step(0.2, Intensity::Contrast(Contrast { factor: [0.5, 2.0], keep_range, channel_probability: 0.5 }));
        let inverted_gamma = || step(0.1, Intensity::Gamma(Gamma { exponent: [0.7, 1.5], inverted: true }));
        let bump = BumpRange { centre: [-0.5, 1.5], width: patch.map(|size| [(size / 6).max(1) as f64, size as f64]) };
        let always_one_of = |steps| step(1.0, Intensity::OneOf(steps));
        Self {
            spatial: Some(Spatial {
                rotation_probability: 0.4,
                rotation_degrees: [-degrees, degrees],
                axis_probability: 0.5,
                scaling_probability: 0.2,
                scaling: [0.7, 1.43],
                scaling_per_axis: true,
                in_plane,
                image: Interpolation::Linear,
                labels: Interpolation::Linear,
                box_scale: None,
            }),
            turn: turn(patch, dims),
            mirror: Some(mirror(dims)),
            intensity: vec![
                always_one_of(vec![
                    step(0.2, Intensity::Median(Median { size: [2, 7], channel_probability: 0.5 })),
                    step(0.2, Intensity::Blur(Blur { sigma: [0.3, 1.5], sigma_per_axis: false, channel_probability: 0.5 })),
                ]),
                step(0.1, Intensity::Noise(Noise { sigma: [0.0, 0.1] })),
                step(0.1, Intensity::BrightnessShift(BrightnessShift { sigma: 0.5, channel_probability: 0.5 })),
                always_one_of(vec![contrast(true), contrast(false)]),
                step(0.15, Intensity::LowResolution(LowResolution { scale: [0.25, 1.0], channel_probability: 0.5, in_plane })),
                inverted_gamma(),
                inverted_gamma(),
                step(
                    0.4,
                    Intensity::Rectangles(Rectangles {
                        count: [1, 4],
                        // Python's randint leaves out the upper end.
                        size: patch.map(|size| [(size / 10).max(1), (size / 3).max(2) - 1]),
                        channel_probability: 0.5,
                    }),
                ),
                step(
                    0.3,
                    Intensity::BrightnessGradient(BrightnessGradient {
                        bump: bump.clone(),
                        strength: [1.0, 5.0],
                        channel_probability: 0.5,
                    }),
                ),
                step(0.3, Intensity::LocalGamma(LocalGamma { bump, exponent: [[0.01, 0.8], [1.5, 4.0]], channel_probability: 0.5 })),
                step(0.2, Intensity::Sharpen(Sharpen { strength: [0.1, 1.0], channel_probability: 0.5 })),
            ],
            previous_stage: Some(PreviousStage::da5()),
            mask: true,
        }
    }
}

/// Whether slices stay slices, and the greatest angle in degrees (`configure_rotation_dummyDA_mirroring_and_inital_patch_size`): any
/// angle in 2D unless the patch is long, up to 30 degrees in 3D, and any angle but in the plane only where a 3D patch is more than
/// three times as wide as it is deep.
fn angles([depth, height, width]: [usize; 3], dims: usize) -> (bool, f64) {
    if dims == 2 {
        let long = height.max(width) as f64 > 1.5 * height.min(width) as f64;
        return (true, if long { 15.0 } else { 180.0 });
    }
    if depth.max(height).max(width) > 3 * depth { (true, 180.0) } else { (false, 30.0) }
}

fn mirror(dims: usize) -> Mirror {
    Mirror { axes: (3 - dims..3).collect(), probability: 0.5 }
}

/// Along the axes whose size most others share.
fn turn(patch: [usize; 3], dims: usize) -> Option<Turn> {
    let spatial = 3 - dims..3;
    let alike = |axis: usize| spatial.clone().filter(|other| patch[*other] == patch[axis]).count();
    let most = spatial.clone().map(alike).max()?;
    let axes = spatial.clone().filter(|axis| alike(*axis) == most).collect();
    (most > 1).then_some(Turn { turn_probability: 0.5, exchange_probability: 0.5, axes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The data key is a hash of this text: it must stay the same for pipelines that have nothing new.
    #[test]
    fn what_is_new_is_written_only_where_it_is_used() {
        let text = |augmentation: &Augmentation| serde_json::to_string(augmentation).unwrap();
        let standard = Augmentation::standard([8; 3], 3);
        assert!(!text(&standard).contains("mask") && !text(&standard).contains("box_scale"));
        // nnU-Net masks what it augments, and nothing else.
        assert!(text(&Augmentation::none()).contains(r#""mask":false"#));
        let read: Augmentation = serde_json::from_str(&text(&standard)).unwrap();
        assert_eq!(read, standard);
    }
}
