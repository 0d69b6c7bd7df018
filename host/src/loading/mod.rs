//! From the store to batches: which case, which patch of it, varied how, in what shape.
//!
//! ```text
//! (seed, phase, epoch, iteration, sample) ─ random ─ case ─ sampler ─ patch ─ its part of the store ─ imaging::augment ─ levels ─ Batch
//! ```
//!
//! A [`Loader`] runs worker threads that make whole batches ahead of time. Sampling is that of nnU-Net's `data_loader.py`:
//! cases are drawn with replacement, the last third of every batch must show foreground. Each sample has its own random
//! numbers, which follow from its place in the run alone ([`random`]), so the number of workers never shows in the data, and a
//! run that is resumed at a later epoch sees what the uninterrupted one would have seen.
//!
//! Everything is named: a [`Batch`] holds the targets by name, and the levels of deep supervision below each name.
//!
//! Differences to nnU-Net: training patches are drawn at their final size, not with the margin that its rotation needs, which
//! moves them by at most one voxel for patches of odd size; with several foreground targets the classes of all are drawn from.

mod batch;
mod error;
mod key;
mod loader;
pub mod random;
mod sample;
mod sampler;
mod targets;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use imaging::augment::Augmentation;
use indexmap::IndexMap;
use serde::Serialize;

pub use batch::{Array, Batch, Levels, TargetBatch};
pub use error::Error;
pub use key::data_key;
pub use loader::Loader;

use crate::dataset::TargetKind;

/// Where cases come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Folder of the preprocessed cases.
    pub store: PathBuf,
    /// What identifies their content (raw data and plans): part of the [`data_key`].
    pub key: String,
    /// The cases to draw from.
    pub cases: Vec<String>,
    /// Targets to load, in the order in which batches hold them.
    pub targets: IndexMap<String, TargetKind>,
    /// For every image channel whether it was normalised within the nonzero mask only (plans: `use_mask_for_norm`). Training
    /// patches of such channels are zero outside the mask, also where interpolation has moved its border.
    pub use_mask_for_norm: Vec<bool>,
}

/// What batches are made of.
#[derive(Clone, Debug, Serialize)]
pub struct LoaderOptions {
    /// Start of all random numbers.
    pub seed: u64,
    /// Training or validation: they never see the same random numbers.
    pub phase: Phase,
    /// Patches a batch.
    pub batch_size: usize,
    /// Size of a patch (Z, Y, X) in voxels; Z = 1 makes 2D batches of single slices.
    pub patch: [usize; 3],
    /// Sizes of the levels of deep supervision, finest first; the first is the patch itself.
    pub levels: Vec<[usize; 3]>,
    /// Share of a batch that must show foreground (nnU-Net: 0.33, which is one of two).
    pub oversample_foreground: f64,
    /// Labels targets whose classes count as foreground.
    pub foreground: Vec<String>,
    /// How patches are varied.
    pub augmentation: Augmentation,
    /// Threads; at least one is started. Their number does not change the batches.
    #[serde(skip)]
    pub workers: usize,
}

/// What a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its loss changes the network.
    Train,
    /// It does not.
    Validate,
}

impl LoaderOptions {
    /// Sizes of deep-supervision levels: `round(patch * scale)` with halves to even, as Python rounds (nnU-Net
    /// `DownsampleSegForDSTransform`). `strides` are those between successive levels, coarser by coarser.
    pub fn level_shapes(patch: [usize; 3], strides: &[[usize; 3]]) -> Vec<[usize; 3]> {
        let mut divisor = [1_usize; 3];
        let mut levels = vec![patch];
        for stride in strides {
            for axis in 0..3 {
                divisor[axis] *= stride[axis];
            }
            levels.push(std::array::from_fn(|axis| {
                let size = patch[axis] as f64 * (1.0 / divisor[axis] as f64);
                (size.round_ties_even() as usize).max(1)
            }));
        }
        levels
    }

    fn check(&self, source: &Source) -> Result<(), Error> {
        let wrong = |found: String, expected: &'static str| Err(Error::Options { found, expected });
        if source.cases.is_empty() {
            return wrong("no cases".to_owned(), "at least one; check the split");
        }
        if self.batch_size == 0 || self.patch.contains(&0) {
            return wrong(format!("batch size {} and patch {:?}", self.batch_size, self.patch), "neither to be zero");
        }
        if self.levels.first() != Some(&self.patch) || self.levels.iter().flatten().any(|&size| size == 0) {
            return wrong(format!("levels {:?}", self.levels), "the size of the patch first, and none to be zero");
        }
        let is_labels = |kind: &TargetKind| matches!(kind, TargetKind::Labels(_));
        if let Some(name) = self.foreground.iter().find(|name| !source.targets.get(*name).is_some_and(is_labels)) {
            let known = source.targets.iter().filter(|(_, kind)| is_labels(kind)).map(|(name, _)| name.as_str());
            return Err(Error::Foreground { found: name.clone(), known: known.collect::<Vec<_>>().join(", ") });
        }
        Ok(())
    }
}
