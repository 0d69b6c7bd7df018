//! What is done with every sample once the loader has made it, on the loader's threads: for whoever takes the batches.

use super::{Batch, Error, LoaderOptions, Phase};
use std::fmt;

/// A stage after the loader. One instance serves all threads.
pub trait Stage: fmt::Debug + Send + Sync + 'static {
    /// What it makes of a batch, beside that. Its memory is used again.
    type Made: fmt::Debug + Send;

    /// Memory for what it makes of batches of these options.
    fn memory(&self, options: &LoaderOptions) -> Self::Made;

    /// Whether it makes nothing at all.
    fn is_idle(&self) -> bool;

    /// Makes its part of sample `sample.index` of `batch`.
    ///
    /// # Errors
    /// When it cannot.
    fn make(&self, sample: &Sample, batch: &Batch, made: &mut Self::Made) -> Result<(), Error>;

    /// All samples of a batch are made.
    fn finish(&self, made: &mut Self::Made);
}

/// A sample, beside what the batch has of it.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Its number in the batch.
    pub index: usize,
    /// Id of the case.
    pub case: &'a str,
    /// For what the stage draws.
    pub seed: u64,
    /// What the batch is for.
    pub phase: Phase,
    /// Size of the patch (Z, Y, X).
    pub size: [usize; 3],
    /// Of the voxels (z, y, x) in mm.
    pub spacing: [f64; 3],
    /// (Z, Y, X): where the patch shows the image.
    pub inside: &'a [bool],
}

/// None.
impl Stage for () {
    type Made = ();

    fn memory(&self, _options: &LoaderOptions) {}

    fn is_idle(&self) -> bool {
        true
    }

    fn make(&self, _sample: &Sample, _batch: &Batch, (): &mut ()) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&self, (): &mut ()) {}
}
