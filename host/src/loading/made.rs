//! Has plugins make their targets of one sample, once everything else of it is there.

use super::{Batch, Error, Levels, LoaderOptions, Phase, Source, TargetBatch};
use indexmap::IndexMap;
use plugin_api::extensions::{MadeTarget, Sample, TargetPatch, Values, ValuesMut};

/// What a plugin is told of a sample, beside what the batch has of it.
pub(super) struct Circumstances<'a> {
    /// Id of the case.
    pub case: &'a str,
    /// For what it draws.
    pub seed: u64,
    /// (Z, Y, X): where the patch shows the image.
    pub inside: &'a [bool],
}

/// Sets sample `index` of what every transform of `source` makes.
pub(super) fn put_made(
    source: &Source,
    options: &LoaderOptions,
    circumstances: &Circumstances,
    (batch, index): (&mut Batch, usize),
) -> Result<(), Error> {
    let Circumstances { case, seed, inside } = *circumstances;
    let Batch { image, targets, made, .. } = batch;
    let phase = match options.phase {
        Phase::Train => plugin_api::Phase::Train,
        Phase::Validate => plugin_api::Phase::Validate,
    };
    let targets = targets.iter().filter(|(_, target)| target.presence[index]).map(|(name, target)| target.patch(name, index));
    let sample = Sample {
        case,
        seed,
        phase,
        size: options.patch,
        spacing: source.spacing,
        image: image.sample(index),
        inside,
        targets: targets.collect(),
    };
    for (number, (transform, made)) in source.transforms.iter().zip(made).enumerate() {
        let Some(transform) = transform else { continue };
        let mut patches: Vec<MadeTarget> = made.iter_mut().map(|(name, target)| target.patch_mut(name, index)).collect();
        transform.apply(&sample, &mut patches).map_err(|source| Error::Transform { number, case: case.to_owned(), source })?;
        let present: Vec<bool> = patches.iter().map(|patch| patch.present).collect();
        finish(made, index, &present);
    }
    Ok(())
}

/// Sets everything that follows from the finest levels.
fn finish(made: &mut IndexMap<String, TargetBatch>, index: usize, present: &[bool]) {
    for (target, present) in made.values_mut().zip(present) {
        if *present {
            target.coarsen(index);
            target.set_present(index, false);
        } else {
            target.set_absent(index);
        }
    }
}

impl TargetBatch {
    /// Sample `index` at the finest level.
    fn patch<'a>(&'a self, name: &'a str, index: usize) -> TargetPatch<'a> {
        let values = match &self.levels {
            Levels::Labels(levels) => Values::Labels(levels[0].sample(index)),
            Levels::Regions(levels) => Values::Regions(levels[0].sample(index)),
            Levels::Regression(levels) => Values::Regression(levels[0].sample(index)),
            Levels::Class(classes) => Values::Class(classes.data[index]),
        };
        TargetPatch { name, values, valid: self.mask.first().map_or(&[], |mask| mask.sample(index)) }
    }

    /// The same, to be written.
    fn patch_mut<'a>(&'a mut self, name: &'a str, index: usize) -> MadeTarget<'a> {
        let values = match &mut self.levels {
            Levels::Labels(levels) => ValuesMut::Labels(levels[0].slot(index)),
            Levels::Regions(levels) => ValuesMut::Regions(levels[0].slot(index)),
            Levels::Regression(levels) => ValuesMut::Regression(levels[0].slot(index)),
            Levels::Class(classes) => ValuesMut::Class(&mut classes.data[index]),
        };
        let valid = self.mask.first_mut().map_or(&mut [][..], |mask| mask.slot(index));
        MadeTarget { name, values, valid, present: true }
    }
}
