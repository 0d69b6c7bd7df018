//! The patches of one target: its values, which samples have it, and where they say anything.

use data::dataset::TargetKind;

use super::levels::{Array, Levels, arrays, coarsen};
use super::of;

/// The patches of one target.
#[derive(Clone, Debug)]
pub struct TargetBatch {
    /// Its values. Those of cases that lack the target are zero.
    pub levels: Levels,
    /// (B,): whether the case has this target.
    pub presence: Vec<bool>,
    /// See [`Self::valid`]; kept also where it says nothing, so that its memory is used again.
    pub(crate) mask: Vec<Array<bool>>,
    all_valid: bool,
}

impl TargetBatch {
    /// Room for `samples` patches of `kind` with levels of these `shapes` (Z, Y, X).
    pub(crate) fn new(kind: &TargetKind, samples: usize, shapes: &[[usize; 3]]) -> Self {
        let mask = if kind.is_dense() { arrays(samples, 1, shapes, true) } else { Vec::new() };
        Self { levels: of(kind).levels(samples, shapes), presence: vec![false; samples], mask, all_valid: true }
    }

    /// For each level (B, 1, Z, Y, X): where the target says anything. False where a case lacks it, outside the volume (regression and derived
    /// targets), where what it is derived from says nothing, and where the plugin that made it says so. Empty when it says something everywhere,
    /// and for classes of whole cases, where `presence` tells.
    pub fn valid(&self) -> &[Array<bool>] {
        if self.all_valid { &[] } else { &self.mask }
    }

    /// Says that sample `index` lacks the target.
    pub(crate) fn set_absent(&mut self, index: usize) {
        self.presence[index] = false;
        self.levels.clear(index);
        self.mask.iter_mut().for_each(|level| level.slot(index).fill(false));
    }

    /// Says that sample `index` has the target, and where that says anything: everywhere, or where `mask` at the finest level has been set.
    pub(crate) fn set_present(&mut self, index: usize, everywhere: bool) {
        self.presence[index] = true;
        if everywhere {
            self.mask.iter_mut().for_each(|level| level.slot(index).fill(true));
        } else {
            coarsen(&mut self.mask, index);
        }
    }

    /// Where sample `index` says anything, at the finest level.
    pub(crate) fn mask(&mut self, index: usize) -> &mut [bool] {
        self.mask[0].slot(index)
    }

    /// Sets the coarser levels of sample `index` to what the finest says.
    pub(crate) fn coarsen(&mut self, index: usize) {
        self.levels.coarsen(index);
    }

    /// To be called when all samples are set.
    pub(crate) fn finish(&mut self) {
        self.all_valid = self.mask.iter().all(|level| level.data.iter().all(|valid| *valid));
    }
}

impl PartialEq for TargetBatch {
    fn eq(&self, other: &Self) -> bool {
        self.levels == other.levels && self.presence == other.presence && self.valid() == other.valid()
    }
}
