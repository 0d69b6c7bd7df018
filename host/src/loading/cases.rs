//! The cases that samples are drawn from: kept open, and which of them, by weight and by what they show.

use std::sync::OnceLock;

use rand::{Rng, RngExt};

use super::sampler::Voxels;
use super::{Error, LoaderOptions, Source};
use data::preprocess::{CaseStore, StoredCase};

/// Files that are kept open (mapped, which costs no memory). Beyond that a case is opened whenever it is drawn: Linux maps 65,530
/// areas at most.
const OPEN_AT_MOST: usize = 8192;

/// All cases of a source; shared by all workers.
#[derive(Debug)]
pub(super) struct Cases {
    store: CaseStore,
    ids: Vec<String>,
    opened: Vec<OnceLock<StoredCase>>,
    /// None where all weigh the same.
    weights: Option<Distribution>,
    /// For class-balanced sampling: every class of foreground that any case shows, with the cases that show it.
    classes: Vec<Class>,
}

/// The cases that show a class of foreground.
#[derive(Debug)]
struct Class {
    target: String,
    /// Its number in the store.
    number: usize,
    cases: Vec<usize>,
    weights: Option<Distribution>,
}

/// A case that was opened for one sample, or is kept open.
pub(super) enum Opened<'a> {
    Kept(&'a StoredCase),
    Own(Box<StoredCase>),
}

impl std::ops::Deref for Opened<'_> {
    type Target = StoredCase;

    fn deref(&self) -> &StoredCase {
        match self {
            Self::Kept(case) => case,
            Self::Own(case) => case,
        }
    }
}

impl Cases {
    /// Prepares drawing. Only class-balanced sampling opens the cases for that.
    pub(super) fn new(source: &Source, options: &LoaderOptions) -> Result<Self, Error> {
        let ids = source.cases.clone();
        let weight = |id: &String| options.sampling.case_weights.get(id).copied().unwrap_or(1.0);
        let of_cases: Vec<f64> = ids.iter().map(weight).collect();
        let opened = ids.iter().map(|_| OnceLock::new()).collect();
        let weights = Distribution::new(&of_cases);
        let mut cases = Self { store: source.store.clone(), ids, opened, weights, classes: Vec::new() };
        if options.sampling.class_balanced {
            cases.classes = cases.find_classes(source, options, &of_cases)?;
        }
        Ok(cases)
    }

    fn find_classes(&self, source: &Source, options: &LoaderOptions, weights: &[f64]) -> Result<Vec<Class>, Error> {
        let mut classes: Vec<Class> = Vec::new();
        for case in (0..self.ids.len()).filter(|case| weights[*case] > 0.0) {
            let stored = self.open(case)?;
            for Voxels { target, class, .. } in foreground(&stored, source, options) {
                let known = classes.iter_mut().find(|known| known.target == target && known.number == class);
                match known {
                    Some(known) => known.cases.push(case),
                    None => classes.push(Class { target: target.to_owned(), number: class, cases: vec![case], weights: None }),
                }
            }
        }
        for class in &mut classes {
            class.weights = Distribution::new(&class.cases.iter().map(|case| weights[*case]).collect::<Vec<_>>());
        }
        classes.sort_by(|a, b| (&a.target, a.number).cmp(&(&b.target, b.number)));
        Ok(classes)
    }

    pub(super) fn id(&self, case: usize) -> &str {
        &self.ids[case]
    }

    /// Draws a case, with probabilities as the weights. With class-balanced sampling, samples that must show foreground draw one of
    /// its classes first, all equally likely, then a case that shows it: the class is the second number, by target and number.
    pub(super) fn draw(&self, show_foreground: bool, rng: &mut impl Rng) -> (usize, Option<(&str, usize)>) {
        if show_foreground && !self.classes.is_empty() {
            let class = &self.classes[rng.random_range(0..self.classes.len())];
            let case = class.cases[Distribution::draw(class.weights.as_ref(), class.cases.len(), rng)];
            return (case, Some((&class.target, class.number)));
        }
        (Distribution::draw(self.weights.as_ref(), self.ids.len(), rng), None)
    }

    /// Opens a case, if it is not open yet.
    pub(super) fn open(&self, case: usize) -> Result<Opened<'_>, Error> {
        let place = &self.opened[case];
        if let Some(kept) = place.get() {
            return Ok(Opened::Kept(kept));
        }
        let id = self.id(case);
        let opened = self.store.open(id).map_err(|error| Error::Read { case: id.to_owned(), source: Box::new(error) })?;
        if case >= OPEN_AT_MOST {
            return Ok(Opened::Own(Box::new(opened)));
        }
        Ok(Opened::Kept(place.get_or_init(|| opened)))
    }
}

/// Every class of foreground that a case shows.
pub(super) fn foreground<'a>(stored: &StoredCase, source: &Source, options: &'a LoaderOptions) -> Vec<Voxels<'a>> {
    let mut found = Vec::new();
    for target in &options.foreground {
        let Some(labels) = source.targets.get(target).and_then(|target| target.kind.labels()) else { continue };
        // The store numbers classes as `Labels::foreground` does; one past them are annotated voxels.
        let counts = stored.location_counts(target).iter().take(labels.foreground().len()).enumerate();
        found.extend(counts.filter(|(_, count)| **count > 0).map(|(class, &count)| Voxels { target, class, count }));
    }
    found
}

/// Which of several things, with unequal probabilities.
#[derive(Debug)]
struct Distribution {
    /// Sums of weights up to and with each thing.
    sums: Vec<f64>,
}

impl Distribution {
    /// None where all weights are the same.
    fn new(weights: &[f64]) -> Option<Self> {
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return None;
        }
        let sums = weights.iter().scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Some(Self { sums: sums.collect() })
    }

    fn draw(distribution: Option<&Self>, count: usize, rng: &mut impl Rng) -> usize {
        let Some(Self { sums }) = distribution else { return rng.random_range(0..count) };
        let place = rng.random::<f64>() * sums[count - 1];
        // The last one that has a weight, should rounding lead beyond it.
        let last = sums.partition_point(|sum| *sum < sums[count - 1]);
        sums.partition_point(|sum| *sum <= place).min(last)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn things_are_drawn_as_often_as_they_weigh() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let distribution = Distribution::new(&[1.0, 0.0, 3.0, 0.0]);
        let mut counts = [0; 4];
        (0..10_000).for_each(|_| counts[Distribution::draw(distribution.as_ref(), 4, &mut rng)] += 1);
        assert!(counts[1] == 0 && counts[3] == 0 && (2350..2650).contains(&counts[0]), "{counts:?}");
        assert!(Distribution::new(&[0.5; 3]).is_none());
    }
}
