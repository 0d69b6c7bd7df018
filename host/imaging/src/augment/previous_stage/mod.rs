//! What a cascade does to the segmentation of its previous stage: one channel for every label, and while training those of some
//! patches are made imperfect.

mod footprint;
mod morphology;
#[cfg(test)]
mod tests;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::check::{Error, Place};
use super::random::{chance, uniform};
use crate::mask::{Bits, Components};
use morphology::Morphology;

/// Makes the segmentation that is handed on imperfect, so that the second stage does not learn to copy it.
///
/// Both kinds of change visit labels in random order, since a voxel that one label gains is lost by all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousStage {
    /// Of growing, shrinking, closing or opening labels (batchgeneratorsv2 `nnunet/random_binary_operator.py`).
    pub morphology_probability: f64,
    /// For each label, where labels are changed so.
    pub morphology_label_probability: f64,
    /// Range of the radius of the ball, or of the disk in 2D, in voxels. Drawn uniformly; not only whole numbers.
    pub radius: [f64; 2],
    /// Of removing a connected component of labels (batchgeneratorsv2 `nnunet/remove_connected_components.py`).
    pub removal_probability: f64,
    /// For each label, where components are removed.
    pub removal_label_probability: f64,
    /// Only components that cover less of the patch than this share are removed.
    pub removal_below: f64,
}

/// One change of one label: plain numbers. `channel` counts the labels as [`one_hot`] was given them.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "snake_case"))]
pub(super) enum StageOperation {
    /// By a ball, or a disk in 2D, of `radius` voxels.
    Morphology { channel: usize, operator: Operator, radius: f64 },
    /// Removes one of the connected components that cover less of the patch than the share `below`. `pick`, from 0 to below 1, says
    /// which: they are equally long intervals, in the order of their first voxels.
    Removal { channel: usize, pick: f64, below: f64 },
}

/// How a label's shape is changed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "snake_case"))]
pub(super) enum Operator {
    /// Dilation.
    Grow,
    /// Erosion.
    Shrink,
    /// Grows, then shrinks.
    Close,
    /// Shrinks, then grows.
    Open,
}

impl Operator {
    const ALL: [Self; 4] = [Self::Grow, Self::Shrink, Self::Close, Self::Open];
}

impl PreviousStage {
    /// Refuses ranges that cannot be; `place` names its keys.
    pub(super) fn check(&self, place: &Place) -> Result<(), Error> {
        place.probability("morphology_probability", self.morphology_probability)?;
        place.probability("morphology_label_probability", self.morphology_label_probability)?;
        place.range("radius", self.radius, 1.0, 64.0)?;
        place.probability("removal_probability", self.removal_probability)?;
        place.probability("removal_label_probability", self.removal_label_probability)?;
        place.probability("removal_below", self.removal_below)
    }

    /// What nnU-Net's default trainer does.
    pub fn standard() -> Self {
        Self {
            morphology_probability: 0.4,
            morphology_label_probability: 0.5,
            radius: [1.0, 8.0],
            removal_probability: 0.2,
            removal_label_probability: 0.5,
            removal_below: 0.15,
        }
    }

    /// What nnU-Net's `nnUNetTrainerDA5` does: it changes every label of a patch or none.
    pub fn da5() -> Self {
        Self { morphology_label_probability: 1.0, removal_label_probability: 1.0, ..Self::standard() }
    }

    /// What is done to the segmentation of one patch, with `labels` labels, in order.
    pub(super) fn draw(&self, labels: usize, rng: &mut impl Rng) -> Vec<StageOperation> {
        let mut operations = Vec::new();
        if chance(rng, self.morphology_probability) {
            for channel in some(labels, self.morphology_label_probability, rng) {
                let operator = Operator::ALL[rng.random_range(0..Operator::ALL.len())];
                operations.push(StageOperation::Morphology { channel, operator, radius: uniform(rng, self.radius) });
            }
        }
        if chance(rng, self.removal_probability) {
            for channel in some(labels, self.removal_label_probability, rng) {
                operations.push(StageOperation::Removal { channel, pick: rng.random(), below: self.removal_below });
            }
        }
        operations
    }
}

/// Every one of `labels` channels with probability `probability`, in random order.
fn some(labels: usize, probability: f64, rng: &mut impl Rng) -> Vec<usize> {
    let mut channels: Vec<usize> = (0..labels).collect();
    channels.shuffle(rng);
    channels.retain(|_| chance(rng, probability));
    channels
}

/// Memory that [`apply`] uses again for every patch.
#[derive(Debug, Default)]
pub(super) struct StageScratch {
    label: Bits,
    morphology: Morphology,
    components: Components,
}

/// Writes one channel for each of `labels` to `out`, (labels, Z, Y, X): 1 where the segmentation, (Z, Y, X), has it, 0 elsewhere
/// (batchgeneratorsv2 `nnunet/seg_to_onehot.py`). All that validation and inference do.
///
/// # Panics
/// When `out` does not have the right size.
pub(super) fn one_hot(segmentation: &[i16], labels: &[i16], out: &mut [f32]) {
    assert_eq!(out.len(), labels.len() * segmentation.len(), "not one channel for every label");
    if segmentation.is_empty() {
        return;
    }
    for (label, channel) in labels.iter().zip(out.chunks_exact_mut(segmentation.len())) {
        for (out, found) in channel.iter_mut().zip(segmentation) {
            *out = f32::from(u8::from(found == label));
        }
    }
}

/// Carries out `operations`, one after the other, on channels that [`one_hot`] made of a patch of size `spatial` (Z, Y, X; Z = 1 is 2D).
///
/// # Panics
/// When an operation names a channel that is not there.
pub(super) fn apply(operations: &[StageOperation], channels: &mut [f32], spatial: [usize; 3], memory: &mut StageScratch) {
    let voxels = spatial.iter().product::<usize>();
    for operation in operations {
        match *operation {
            StageOperation::Morphology { channel, operator, radius } => {
                memory.label.pack(&channels[channel * voxels..][..voxels], spatial, |value| value != 0.0);
                let changed = memory.morphology.apply(operator, radius, &memory.label);
                write(changed, &memory.label, channels, channel);
            }
            StageOperation::Removal { channel, pick, below } => {
                let channel = &mut channels[channel * voxels..][..voxels];
                memory.label.pack(channel, spatial, |value| value != 0.0);
                memory.components.find(&memory.label);
                memory.components.remove(channel, pick, below);
            }
        }
    }
}

/// Changes channel `channel` from `before` to `after`. Voxels that it gains are taken from all other channels.
fn write(after: &Bits, before: &Bits, channels: &mut [f32], channel: usize) {
    let voxels = before.voxels();
    after.for_each_beyond(before, |voxel| {
        channels.iter_mut().skip(voxel).step_by(voxels).for_each(|other| *other = 0.0);
        channels[channel * voxels + voxel] = 1.0;
    });
    before.for_each_beyond(after, |voxel| channels[channel * voxels + voxel] = 0.0);
}
