//! Makes one sample: draws a case and a patch of it, reads what the patch shows, cuts and varies it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use imaging::Volume;
use imaging::augment::{AugmentedTarget, Patch, Target, augment};
use rand::{Rng, RngExt};

use super::sampler::{Locations, Voxels, must_show_foreground, patch_origin};
use super::targets::SampleTarget;
use super::{Error, LoaderOptions, Phase, Source, random};
use crate::dataset::{SEGMENTATION, TargetKind};
use crate::preprocess::{StoredCase, case_path};

/// A patch of one case.
pub(super) struct Sample {
    pub case: String,
    pub image: Volume<f32>,
    /// In the order of [`Source::targets`]; none where the case lacks it.
    pub targets: Vec<Option<SampleTarget>>,
}

impl Sample {
    /// Makes sample `index` of the batch of `iteration` of `epoch`.
    pub(super) fn make(source: &Source, options: &LoaderOptions, epoch: u64, iteration: u64, index: usize) -> Result<Self, Error> {
        let mut rng = random::generator(options.seed, options.phase, epoch, iteration, index as u32);
        let case = &source.cases[rng.random_range(0..source.cases.len())];
        let show_foreground = must_show_foreground(index, options.batch_size, options.oversample_foreground);
        report_panic(case, || Self::load(source, options, case, show_foreground, &mut rng))
    }

    fn load(source: &Source, options: &LoaderOptions, case: &str, show_foreground: bool, rng: &mut impl Rng) -> Result<Self, Error> {
        let failed = |error| Error::Read { case: case.to_owned(), source: Box::new(error) };
        let stored = StoredCase::open(&case_path(&source.store, case)).map_err(failed)?;
        check_channels(case, "image", stored.channels(), source.use_mask_for_norm.len())?;

        let centre = match locations(&stored, source, options).draw(show_foreground, rng) {
            Some((Voxels { target, class, .. }, number)) => stored.location(target, class, number).map_err(failed)?,
            None => None,
        };
        let origin = patch_origin(stored.spatial(), options.patch, centre, rng);
        let patch = Patch::draw(&options.augmentation, stored.spatial(), origin, options.patch, rng);

        // Image and dense targets go through augmentation together; classes have no place.
        let image = stored.image(patch.source()).map_err(failed)?;
        let (mut names, mut dense) = (Vec::new(), Vec::new());
        for (name, kind) in &source.targets {
            let target = match kind {
                TargetKind::Labels(_) => stored.labels(name, patch.source()).map_err(failed)?.map(Target::Labels),
                TargetKind::Regression { channels, pad, .. } => {
                    let values = stored.map(name, patch.source()).map_err(failed)?;
                    if let Some(values) = &values {
                        check_channels(case, name, values.channels(), *channels)?;
                    }
                    values.map(|values| Target::Regression { values, pad: *pad })
                }
                TargetKind::Class { .. } => None,
            };
            if let Some(target) = target {
                names.push(name);
                dense.push(target);
            }
        }
        let (mut image, augmented) = augment(&options.augmentation, &patch, image, dense, rng);

        let mut augmented: Vec<_> = names.into_iter().zip(augmented).collect();
        // nnU-Net masks training patches only.
        if options.phase == Phase::Train
            && let Some((_, AugmentedTarget::Labels(labels))) = augmented.iter().find(|(name, _)| *name == SEGMENTATION)
        {
            mask(&mut image, labels, &source.use_mask_for_norm);
        }
        let take = |(name, kind): (&String, &TargetKind)| match kind {
            TargetKind::Class { .. } => stored.class(name).map(SampleTarget::Class),
            _ => {
                let position = augmented.iter().position(|(other, _)| *other == name)?;
                Some(SampleTarget::Patch(augmented.swap_remove(position).1))
            }
        };
        let targets = source.targets.iter().map(take).collect();
        Ok(Self { case: case.to_owned(), image, targets })
    }
}

/// Where a patch of this case may be centred.
fn locations<'a>(stored: &StoredCase, source: &Source, options: &'a LoaderOptions) -> Locations<'a> {
    let mut locations = Locations::default();
    for target in &options.foreground {
        let Some(TargetKind::Labels(labels)) = source.targets.get(target) else { continue };
        // The store numbers classes as `Labels::foreground` does; one past them are annotated voxels.
        let classes = labels.foreground().len();
        for (class, &count) in stored.location_counts(target).iter().enumerate().filter(|(_, count)| **count > 0) {
            let voxels = Voxels { target, class, count };
            if class < classes {
                locations.foreground.push(voxels);
            } else {
                locations.annotated.get_or_insert(voxels);
            }
        }
    }
    locations
}

/// Sets the channels that were normalised within a mask to zero outside it.
fn mask(image: &mut Volume<f32>, labels: &Volume<i16>, use_mask: &[bool]) {
    for channel in (0..image.channels()).filter(|&channel| use_mask[channel]) {
        for (value, label) in image.channel_mut(channel).iter_mut().zip(labels.data()) {
            if *label < 0 {
                *value = 0.0;
            }
        }
    }
}

fn check_channels(case: &str, what: &str, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Content { case: case.to_owned(), found: format!("{what} with {found} channels"), expected: format!("{expected} channels") })
}

/// Runs `work`; a panic becomes an error that names the case, so that a run ends with a message instead of waiting forever.
fn report_panic<T>(case: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What a panic leaves half done is dropped with the sample.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload: Box<dyn Any + Send>| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let cause = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned();
        Err(Error::Panic { case: case.to_owned(), cause })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_the_case() {
        let numbers: Vec<i32> = Vec::new();
        let error = report_panic("case_7", || Ok(numbers[3])).expect_err("panicked");
        let message = error.to_string();
        assert!(message.contains("case_7") && message.contains("index out of bounds"), "{message}");
        assert_eq!(report_panic("case_7", || Ok(3)).expect("no panic"), 3);
    }

    #[test]
    fn only_masked_channels_are_masked() {
        let mut image = Volume::filled([2, 1, 1, 3], 5.0);
        mask(&mut image, &Volume::new([1, 1, 1, 3], vec![-1, 0, 1]), &[false, true]);
        assert_eq!(image.data(), [5.0, 5.0, 5.0, 0.0, 5.0, 5.0]);
    }
}
