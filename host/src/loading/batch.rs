//! What a training step gets.

use indexmap::IndexMap;

use super::{LoaderOptions, Source};
use crate::kinds::{Array, TargetBatch};

/// Patches of several cases, with everything that is to be learned from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// (B, C, Z, Y, X); Z = 1 in 2D.
    pub image: Array<f32>,
    /// Ids of the cases, (B,).
    pub cases: Vec<String>,
    /// By name.
    pub targets: IndexMap<String, TargetBatch>,
}

impl Batch {
    /// A batch with room for what `options` ask of `source`.
    pub(super) fn new(source: &Source, options: &LoaderOptions) -> Self {
        let [z, y, x] = options.patch;
        let size = options.samples();
        Self {
            image: Array::filled(vec![size, source.channels(), z, y, x], 0.0),
            cases: vec![String::new(); size],
            targets: source
                .targets
                .iter()
                .map(|(name, target)| (name.clone(), TargetBatch::new(&target.kind, size, &options.levels)))
                .collect(),
        }
    }

    /// To be called when all samples are set.
    pub(super) fn finish(&mut self) {
        self.targets.values_mut().for_each(TargetBatch::finish);
    }
}
