//! The pipeline against batchgeneratorsv2, with fixed parameters; `golden/make_augment.py` made the numbers.

use imaging::Volume;
use imaging::augment::{Augmentation, AugmentedTarget, Patch, Target, augment};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    source: Source,
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Source {
    shape: [usize; 3],
    image: Vec<f32>,
    labels: Vec<i16>,
}

#[derive(Deserialize)]
struct Record {
    name: String,
    augmentation: Augmentation,
    origin: [i64; 3],
    patch: [usize; 3],
    image: Vec<f32>,
    /// None for transforms of intensities; an entry is none where two labels are tied.
    labels: Option<Vec<Option<i16>>>,
}

#[test]
fn transforms_equal_those_of_batchgenerators() {
    let golden: Golden = serde_json::from_str(include_str!("golden/augment.json")).expect("golden file is valid");
    let [z, y, x] = golden.source.shape;
    let image = Volume::new([1, z, y, x], golden.source.image);
    let labels = Volume::new([1, z, y, x], golden.source.labels);
    assert!(!golden.records.is_empty());
    for record in golden.records {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let patch = Patch::draw(&record.augmentation, image.spatial(), record.origin, record.patch, &mut rng);
        let targets = vec![Target::Labels(labels.crop(patch.source()))];
        let (found, targets) = augment(&record.augmentation, &patch, image.crop(patch.source()), targets, &mut rng);
        assert_eq!(found.data().len(), record.image.len(), "{}", record.name);
        let difference = found.data().iter().zip(&record.image).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-4, "{}: images differ by {difference}", record.name);

        let (Some(expected), AugmentedTarget::Labels(found)) = (record.labels, &targets[0]) else { continue };
        let decided = expected.iter().zip(found.data()).filter_map(|(expected, found)| expected.map(|label| (label, *found)));
        let (count, different) = decided.fold((0, 0), |(n, bad), (a, b)| (n + 1, bad + usize::from(a != b)));
        assert_eq!(different, 0, "{}: {different} of {count} labels differ", record.name);
        assert!(count * 10 > expected.len() * 9, "{}: only {count} labels to compare", record.name);
    }
}
