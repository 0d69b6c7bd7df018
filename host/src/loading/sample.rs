//! Makes one sample: draws a case and a patch of it, reads what the patch shows, cuts and varies it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use imaging::Volume;
use imaging::augment::Recipe;
use rand::{Rng, RngExt};

use super::cases::{Cases, Opened, foreground};
use super::sampler::{Locations, Voxels, patch_origin};
use super::{Batch, Error, LoaderOptions, Source, random};
use crate::kinds::{self, LoadError, Memory, Stored};
use data::dataset::{Origin, SEGMENTATION, Target, TargetSource};
use data::preprocess::StoredCase;

/// What makes samples: memory that is used for all of them, one after the other.
#[derive(Debug, Default)]
pub(super) struct Maker {
    image: Volume<f32>,
    memory: Memory,
    /// The patch of every labels target, in the order of [`Source::targets`]; empty for the others and for what a case lacks.
    patches: Vec<Vec<i16>>,
    inside: Vec<bool>,
    /// Time spent since it was last asked for.
    pub times: Times,
}

/// What loading takes, of all workers together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// Reading what patches show from the disk.
    pub read: Duration,
    /// Decompressing it.
    pub decode: Duration,
    /// Everything else: making patches and targets of it.
    pub augment: Duration,
}

impl std::ops::AddAssign for Times {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.decode += other.decode;
        self.augment += other.augment;
    }
}

/// Where in a run a sample belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub epoch: u64,
    pub iteration: u64,
    /// Its number in the batch.
    pub index: usize,
}

/// Everything random of a sample, decided.
pub(super) struct Drawn<'a> {
    /// Its number.
    pub case: usize,
    pub stored: Opened<'a>,
    pub recipe: Recipe,
    /// For what a stage draws.
    pub seed: u64,
}

impl Place {
    /// Draws the sample of this place.
    pub(super) fn draw<'a>(self, source: &Source, cases: &'a Cases, options: &LoaderOptions) -> Result<Drawn<'a>, Error> {
        let Self { epoch, iteration, index } = self;
        let mut rng = random::generator(options.seed, options.phase, epoch, iteration, index as u32);
        let show_foreground = options.sampling.must_show_foreground(index, options.batch_size, &mut rng);
        let (case, class) = cases.draw(show_foreground, &mut rng);
        report_panic(cases.id(case), || Self::draw_of(source, cases, options, case, class, show_foreground, &mut rng))
    }

    /// Opens the case and draws a patch of it.
    fn draw_of<'a>(
        source: &Source,
        cases: &'a Cases,
        options: &LoaderOptions,
        case: usize,
        class: Option<(&str, usize)>,
        show_foreground: bool,
        rng: &mut impl Rng,
    ) -> Result<Drawn<'a>, Error> {
        let id = cases.id(case);
        let stored = cases.open(case)?;
        if stored.channels() != source.channels() {
            return Err(other_channels(id, "image", stored.channels(), source.channels()));
        }
        let centre = match locations(&stored, source, options, class).draw(show_foreground, rng) {
            Some((Voxels { target, class, .. }, number)) => stored.location(target, class, number).map_err(failed(id))?,
            None => None,
        };
        let origin = patch_origin(stored.spatial(), options.patch, centre, rng);
        let recipe = Recipe::draw(&options.augmentation, stored.spatial(), origin, options.patch, stored.channels(), rng);
        Ok(Drawn { case, stored, recipe, seed: rng.random() })
    }
}

impl Maker {
    /// Makes sample `index` of `batch` by `recipe`.
    pub(super) fn make(
        &mut self,
        source: &Source,
        options: &LoaderOptions,
        (id, stored): (&str, &StoredCase),
        recipe: &Recipe,
        (batch, index): (&mut Batch, usize),
    ) -> Result<(), Error> {
        batch.cases[index].clear();
        batch.cases[index].push_str(id);
        let start = Instant::now();
        stored.fetch(recipe.source());
        let fetched = Instant::now();
        self.times.read += fetched - start;
        self.memory.decode(|_| stored.read_image(recipe.source(), &mut self.image).map_err(failed(id)))?;
        let image = batch.image.slot(index);
        recipe.image(self.image.view(), image, &mut self.memory.scratch);

        self.patches.resize_with(source.targets.len(), Vec::new);
        let voxels = options.patch.iter().product();
        for (number, (name, target)) in source.targets.iter().enumerate() {
            let out = &mut batch.targets[number];
            self.patches[number].clear();
            if matches!(target.source, TargetSource::Derived { .. }) {
                continue;
            }
            let from = Stored { name, case: stored, recipe, spacing: source.spacing, voxels };
            let loaded = kinds::of(&target.kind).load(&from, &mut self.memory, &mut self.patches[number], out, index);
            let present = loaded.map_err(|error| match error {
                LoadError::Store(source) => Error::Read { case: id.to_owned(), source },
                LoadError::Channels { found, expected } => other_channels(id, name, found, expected),
            })?;
            if !present {
                out.set_absent(index);
            }
        }
        for (number, target) in source.targets.values().enumerate() {
            self.derive(target, (source, options), recipe, number, (batch, index));
        }
        if options.augmentation.mask
            && let Some(segmentation) = source.targets.get_index_of(SEGMENTATION)
        {
            mask(batch.image.slot(index), &self.patches[segmentation], &source.use_mask_for_norm);
        }
        let decoding = std::mem::take(&mut self.memory.decoding);
        self.times.decode += decoding;
        self.times.augment += fetched.elapsed() - decoding;
        Ok(())
    }

    /// Where a patch of size `size` by `recipe` shows the image.
    pub(super) fn inside(&mut self, recipe: &Recipe, size: [usize; 3]) -> &[bool] {
        self.inside.resize(size.iter().product(), false);
        recipe.inside(&mut self.inside);
        &self.inside
    }

    /// Makes target number `number`, if it is a derived one.
    fn derive(
        &mut self,
        target: &Target,
        (source, options): (&Source, &LoaderOptions),
        recipe: &Recipe,
        number: usize,
        (batch, index): (&mut Batch, usize),
    ) {
        let TargetSource::Derived { from, operation } = &target.source else { return };
        let out = &mut batch.targets[number];
        let origin = source.targets.get_full(from).and_then(|(from, _, origin)| Some((origin.kind.labels()?, &self.patches[from])));
        match origin {
            Some((kind, labels)) if !labels.is_empty() => {
                let origin = Origin { kind, labels, spatial: options.patch, spacing: source.spacing };
                kinds::of(&target.kind).derive(operation, recipe, &origin, &mut self.memory, out, index);
            }
            _ => out.set_absent(index),
        }
    }
}

fn failed(id: &str) -> impl Fn(data::preprocess::Error) -> Error {
    move |error| Error::Read { case: id.to_owned(), source: Box::new(error) }
}

/// Where a patch of this case may be centred: on the class that was drawn with it, if one was.
fn locations<'a>(stored: &StoredCase, source: &Source, options: &'a LoaderOptions, class: Option<(&str, usize)>) -> Locations<'a> {
    let mut foreground = foreground(stored, source, options);
    if let Some((target, number)) = class {
        foreground.retain(|voxels| voxels.target == target && voxels.class == number);
    }
    let annotated = options.foreground.iter().find_map(|target| {
        let labels = source.targets.get(target)?.kind.labels()?;
        // The store numbers classes as `Labels::foreground` does; one past them are annotated voxels.
        let class = labels.foreground().len();
        let count = *stored.location_counts(target).get(class)?;
        (count > 0).then_some(Voxels { target, class, count })
    });
    Locations { foreground, annotated }
}

/// Sets the channels that were normalised within a mask to zero outside it.
fn mask(image: &mut [f32], labels: &[i16], use_mask: &[bool]) {
    if labels.is_empty() {
        return;
    }
    for (channel, _) in image.chunks_exact_mut(labels.len()).zip(use_mask).filter(|(_, use_mask)| **use_mask) {
        for (value, label) in channel.iter_mut().zip(labels) {
            *value = if *label < 0 { 0.0 } else { *value };
        }
    }
}

fn other_channels(case: &str, what: &str, found: usize, expected: usize) -> Error {
    Error::Content { case: case.to_owned(), found: format!("{what} with {found} channels"), expected: format!("{expected} channels") }
}

/// Runs `work`; a panic becomes an error that names the case, so that a run ends with a message instead of waiting forever.
pub(super) fn report_panic<T>(case: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What a panic leaves half done is dropped with the batch.
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
        let mut image = [5.0; 6];
        mask(&mut image, &[-1, 0, 1], &[false, true]);
        assert_eq!(image, [5.0, 5.0, 5.0, 0.0, 5.0, 5.0]);
    }
}
