//! Targets that the plugins of arms make, on the threads of the loader, once everything else of a sample is there.

use crate::loading::{Batch, Error, LoaderOptions, Phase, Sample, Stage, TargetBatch};
use crate::plugin::LoadedTransform;
use indexmap::IndexMap;
use plugin_api::extensions::{MadeTarget, TargetPatch};
use std::sync::Arc;

/// For each arm its plugin's transform, if it has one. Not part of the [`data_key`](crate::loading::data_key), so that arms which see the same data are
/// known to do so.
#[derive(Clone, Debug)]
pub struct Makers(pub Vec<Option<Arc<LoadedTransform>>>);

impl Stage for Makers {
    /// For each arm, by name.
    type Made = Vec<IndexMap<String, TargetBatch>>;

    fn memory(&self, options: &LoaderOptions) -> Self::Made {
        let of_one = |transform: &Option<Arc<LoadedTransform>>| {
            let kinds = transform.iter().flat_map(|transform| transform.kinds());
            kinds.map(|(name, kind)| (name.clone(), TargetBatch::new(kind, options.samples(), &options.levels))).collect()
        };
        self.0.iter().map(of_one).collect()
    }

    fn is_idle(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    fn make(&self, sample: &Sample, batch: &Batch, made: &mut Self::Made) -> Result<(), Error> {
        let Sample { index, case, seed, phase, size, spacing, inside } = *sample;
        let phase = match phase {
            Phase::Train => plugin_api::Phase::Train,
            Phase::Validate => plugin_api::Phase::Validate,
        };
        let targets = batch.targets.iter().filter(|(_, target)| target.presence[index]);
        let targets = targets.map(|(name, target)| patch(name, target, index)).collect();
        let image = batch.image.sample(index);
        let told = plugin_api::extensions::Sample { case, seed, phase, size, spacing, image, inside, targets };
        for (part, (transform, made)) in self.0.iter().zip(made).enumerate() {
            let Some(transform) = transform else { continue };
            let mut patches: Vec<MadeTarget> = made.iter_mut().map(|(name, target)| patch_mut(name, target, index)).collect();
            let failed = |source| Error::Stage { part, case: case.to_owned(), source: Box::new(source) };
            transform.apply(&told, &mut patches).map_err(failed)?;
            let present: Vec<bool> = patches.iter().map(|patch| patch.present).collect();
            set_rest(made, index, &present);
        }
        Ok(())
    }

    fn finish(&self, made: &mut Self::Made) {
        made.iter_mut().flat_map(IndexMap::values_mut).for_each(TargetBatch::finish);
    }
}

/// Sets everything that follows from the finest levels.
fn set_rest(made: &mut IndexMap<String, TargetBatch>, index: usize, present: &[bool]) {
    for (target, present) in made.values_mut().zip(present) {
        if *present {
            target.coarsen(index);
            target.set_present(index, false);
        } else {
            target.set_absent(index);
        }
    }
}

/// Sample `index` of `target` at the finest level.
fn patch<'a>(name: &'a str, target: &'a TargetBatch, index: usize) -> TargetPatch<'a> {
    TargetPatch { name, values: target.levels.values(index), valid: target.mask.first().map_or(&[], |mask| mask.sample(index)) }
}

/// The same, to be written.
fn patch_mut<'a>(name: &'a str, target: &'a mut TargetBatch, index: usize) -> MadeTarget<'a> {
    let valid = target.mask.first_mut().map_or(&mut [][..], |mask| mask.slot(index));
    MadeTarget { name, values: target.levels.values_mut(index), valid, present: true }
}
