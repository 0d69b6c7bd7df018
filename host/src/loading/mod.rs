//! From the store to batches: which case, which patch of it, varied how, in what shape.
//!
//! ```text
//! (seed, phase, epoch, iteration, sample) ─ random ─ cases: which ─ sampler: where ─ recipe ─ its part of the store
//!     ─ image and targets, moved alike ─ derived targets ─ coarser levels ─ Batch ─ a Stage of whoever takes it
//! ```
//!
//! A [`Loader`] runs worker threads that make whole batches ahead of time. Sampling is that of nnU-Net's `data_loader.py`:
//! cases are drawn with replacement, the last third of every batch must show foreground. Each sample has its own random
//! numbers, which follow from its place in the run alone ([`random`]), so the number of workers never shows in the data, and a
//! run that is resumed at a later epoch sees what the uninterrupted one would have seen.
//!
//! Workers write patches straight into the memory of a batch, which goes back to them when the next one is taken.
//! Everything is named: a [`Batch`] holds the targets by name, and the levels of deep supervision below each name.
//!
//! Differences to nnU-Net: training patches are drawn at their final size, not with the margin that its rotation needs, which
//! moves them by at most one voxel for patches of odd size; with several foreground targets the classes of all are drawn from.

mod batch;
mod cases;
mod error;
mod key;
mod loader;
mod pipeline;
pub mod random;
mod sample;
mod sampler;
mod share;
mod stage;
#[cfg(test)]
mod synchrony_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use imaging::augment::Augmentation;
use indexmap::IndexMap;
use serde::Serialize;

pub use crate::kinds::{Array, Levels, TargetBatch};
pub use batch::Batch;
pub use error::Error;
pub use key::data_key;
pub use loader::{Loader, preview};
pub use sample::Times;
pub use share::Share;
pub use stage::{Sample, Stage};

use data::dataset::{Dataset, Target};
use data::preprocess::{CaseStore, Prepared};

/// Where cases come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The preprocessed cases.
    pub store: CaseStore,
    /// What names their arrays in the [`data_key`].
    pub key: String,
    /// The cases to draw from.
    pub cases: Vec<String>,
    /// Targets to load, in the order in which batches hold them.
    pub targets: IndexMap<String, Target>,
    /// For every image channel whether it was normalised within the nonzero mask only (plans: `use_mask_for_norm`). Training
    /// patches of such channels are zero outside the mask, also where interpolation has moved its border.
    pub use_mask_for_norm: Vec<bool>,
    /// Of the voxels (z, y, x) in mm: distances and vectors are measured in it.
    pub spacing: [f64; 3],
}

impl Source {
    /// `cases` of a prepared data set, with all its targets.
    pub fn of(dataset: &Dataset, prepared: &Prepared, cases: Vec<String>) -> Self {
        Self {
            store: prepared.store.clone(),
            key: prepared.data_key_part.clone(),
            cases,
            targets: dataset.description.targets.clone(),
            use_mask_for_norm: prepared.configuration.use_mask_for_norm.clone(),
            // The distance of slices does not matter to patches of one slice.
            spacing: prepared.configuration.spacing_zyx(1.0),
        }
    }

    /// Channels of the image.
    pub(super) fn channels(&self) -> usize {
        self.use_mask_for_norm.len()
    }
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
    /// Which cases, and how often foreground.
    pub sampling: Sampling,
    /// Labels targets whose classes count as foreground.
    pub foreground: Vec<String>,
    /// How patches are varied.
    pub augmentation: Augmentation,
    /// Threads; at least one is started. Their number does not change the batches.
    #[serde(skip)]
    pub workers: usize,
    /// Which part of every batch is made.
    #[serde(skip)]
    pub share: Share,
}

/// Which cases are drawn, and how often a patch must show foreground.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sampling {
    /// Share of samples that must show foreground (nnU-Net: 0.33, which is one of two).
    pub foreground_share: f64,
    /// Whether each sample shows foreground with that probability, instead of the last ones of every batch
    /// (`nnUNetTrainer_probabilisticOversampling_033`; the trainer without a number takes the share that rounding leads to: 0.5 of two).
    pub probabilistic: bool,
    /// Whether samples that must show foreground draw its class first, among all that the cases have, and then a case that shows it:
    /// rare classes are then as frequent as others.
    pub class_balanced: bool,
    /// How often a case is drawn in relation to the others; 1 for those that are not named.
    pub case_weights: BTreeMap<String, f64>,
}

impl Default for Sampling {
    /// nnU-Net's.
    fn default() -> Self {
        Self { foreground_share: 0.33, probabilistic: false, class_balanced: false, case_weights: BTreeMap::new() }
    }
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
    /// Samples of a batch that are made.
    pub fn samples(&self) -> usize {
        self.share.of_batch(self.batch_size).len()
    }

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

    /// Refuses what makes no batches of `source`.
    ///
    /// # Errors
    /// When an option is out of range or does not fit the source.
    pub fn check(&self, source: &Source) -> Result<(), Error> {
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
        self.augmentation.check(self.patch)?;
        self.sampling.check(&source.cases)?;
        check_foreground(&source.targets, &self.foreground)
    }
}

impl Sampling {
    /// Checks that it makes sense for `cases`; weights of other cases do no harm.
    ///
    /// # Errors
    /// When a number is out of range, or no case can be drawn.
    pub fn check(&self, cases: &[String]) -> Result<(), Error> {
        let wrong = |found: String, expected: &'static str| Err(Error::Options { found, expected });
        let Self { foreground_share, case_weights, .. } = self;
        if !(0.0..=1.0).contains(foreground_share) {
            return wrong(format!("a share of {foreground_share} that shows foreground"), "a number from 0 to 1");
        }
        if let Some((case, weight)) = case_weights.iter().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0)) {
            return wrong(format!("weight {weight} of case {case}"), "a number that is not negative");
        }
        if cases.iter().all(|case| case_weights.get(case) == Some(&0.0)) {
            return wrong("no training case with a weight above 0".to_owned(), "at least one; check the weights of cases");
        }
        Ok(())
    }
}

/// Checks that foreground can be found in all of the targets `names`.
///
/// # Errors
/// When one is not there, has no labels, or has no files.
pub fn check_foreground(targets: &IndexMap<String, Target>, names: &[String]) -> Result<(), Error> {
    match names.iter().find(|name| !targets.get(*name).is_some_and(Target::is_label_map)) {
        None => Ok(()),
        Some(name) => {
            let known = targets.iter().filter(|(_, target)| target.is_label_map()).map(|(name, _)| name.as_str());
            Err(Error::Foreground { found: name.clone(), known: known.collect::<Vec<_>>().join(", ") })
        }
    }
}
