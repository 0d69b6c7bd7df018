//! Every transform against batchgeneratorsv2, with the numbers that it drew; `tests/golden/make_augment.py` wrote them down.
//!
//! `AUGMENT_GOLDEN=FILE` compares with another file of that script, which may hold many more draws.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::intensity::Operation;
use super::placement::Placement;
use super::spatial::{Affine, Interpolation, Orientation, Spatial};
use super::{Augmentation, Recipe, Scratch};
use crate::Volume;

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
    origin: [i64; 3],
    patch: [usize; 3],
    matrix: Option<[[f64; 3]; 3]>,
    steps: Option<[(usize, i64); 3]>,
    nearest: bool,
    #[serde(deserialize_with = "operations")]
    operations: Vec<Operation>,
    /// An entry is none where a sample is halfway between two voxels, of which the nearest was asked for.
    image: Vec<Option<f32>>,
    /// None for transforms of intensities; an entry is none where two labels are tied.
    labels: Option<Vec<Option<i16>>>,
}

/// The golden file names two of them by what they do, not by their transform.
fn operations<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Operation>, D::Error> {
    let text = Vec::<serde_json::Value>::deserialize(from)?.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let text = text.replace("\"scale\":", "\"brightness\":").replace("\"shift\":", "\"brightness_shift\":");
    serde_json::from_str(&format!("[{text}]")).map_err(serde::de::Error::custom)
}

impl Record {
    fn recipe(&self, volume: [usize; 3]) -> Recipe {
        let affine = self.matrix.map(|matrix| Affine { matrix });
        let orientation = self.steps.map_or_else(Orientation::default, |steps| Orientation { steps });
        let order = if self.nearest { Interpolation::Nearest } else { Interpolation::Linear };
        Recipe {
            placement: Placement::new(volume, self.origin, self.patch, affine, orientation, None),
            image: order,
            labels: order,
            operations: self.operations.iter().map(|operation| (0, operation.clone())).collect(),
            ..Recipe::draw(&Augmentation::none(), volume, self.origin, self.patch, 1, &mut ChaCha8Rng::seed_from_u64(0))
        }
    }
}

#[test]
fn transforms_equal_those_of_batchgenerators() {
    /// Largest difference of intensities, which have a standard deviation around 1.
    const TOLERANCE: f32 = 1e-4;
    let other = std::env::var("AUGMENT_GOLDEN").map(|path| std::fs::read_to_string(path).expect("readable"));
    let text = other.as_deref().unwrap_or(include_str!("../../tests/golden/augment.json"));
    let golden: Golden = serde_json::from_str(text).expect("golden file is valid");
    let [z, y, x] = golden.source.shape;
    let image = Volume::new([1, z, y, x], golden.source.image);
    let labels = Volume::new([1, z, y, x], golden.source.labels);
    let (mut largest, mut voxels, mut tied) = (std::collections::BTreeMap::new(), 0, 0);
    for record in &golden.records {
        let recipe = record.recipe(golden.source.shape);
        let size = record.patch.iter().product();
        let (mut found, mut found_labels) = (vec![0.0; size], vec![0; size]);
        recipe.image(image.crop(recipe.source()).view(), &mut found, &mut Scratch::default());
        recipe.labels(labels.crop(recipe.source()).view(), &mut found_labels, &mut Scratch::default());

        assert_eq!(found.len(), record.image.len(), "{}", record.name);
        let decided = found.iter().zip(&record.image).filter_map(|(found, expected)| expected.map(|expected| (found - expected).abs()));
        let difference = decided.fold(0.0, f32::max);
        assert!(difference < TOLERANCE, "{}: images differ by {difference}", record.name);
        let name = record.name.trim_end_matches(", 2D").to_owned();
        largest.entry(name).and_modify(|largest: &mut f32| *largest = largest.max(difference)).or_insert(difference);

        let Some(expected) = &record.labels else { continue };
        let decided = expected.iter().zip(&found_labels).filter_map(|(expected, found)| expected.map(|label| (label, *found)));
        let (count, different) = decided.fold((0, 0), |(n, bad), (a, b)| (n + 1, bad + usize::from(a != b)));
        assert_eq!(different, 0, "{}: {different} of {count} labels differ", record.name);
        assert!(count * 10 > expected.len() * 9, "{}: only {count} labels to compare", record.name);
        (voxels, tied) = (voxels + count, tied + expected.len() - count);
    }
    println!("{voxels} labels compared, none differs; {tied} ties left out; largest differences {largest:?}");
    assert!(largest.len() > 20, "{largest:?}");
}

#[derive(Deserialize)]
struct GoldenBoxes {
    source: Source,
    records: Vec<BoxRecord>,
}

/// A patch that reaches beyond the box that nnU-Net loads for it.
#[derive(Deserialize)]
struct BoxRecord {
    name: String,
    origin: [i64; 3],
    patch: [usize; 3],
    degrees: f64,
    scale: f64,
    in_plane: bool,
    loaded: [usize; 3],
    matrix: [[f64; 3]; 3],
    image: Vec<f32>,
    /// None where two labels are tied.
    labels: Vec<Option<i16>>,
}

/// `tests/golden/make_box.py`: nnU-Net's own data loader and spatial transform.
#[test]
fn corners_are_nnunets_where_its_box_is_asked_for() {
    let golden: GoldenBoxes = serde_json::from_str(include_str!("../../tests/golden/box.json")).expect("golden file is valid");
    let shape = golden.source.shape;
    let [z, y, x] = shape;
    let image = Volume::new([1, z, y, x], golden.source.image);
    let labels = Volume::new([1, z, y, x], golden.source.labels);
    let standard = Augmentation::standard([8; 3], 3).spatial.expect("turns");
    let (mut zeros, mut reached) = (0, 0);
    for record in &golden.records {
        let BoxRecord { name, origin, patch, degrees, scale, in_plane, .. } = record;
        let spatial = Spatial { rotation_degrees: [-degrees, *degrees], in_plane: *in_plane, box_scale: Some(*scale), ..standard.clone() };
        assert_eq!(spatial.loaded(*patch), Some(record.loaded), "{name}");
        let recipe = |loaded| Recipe {
            placement: Placement::new(shape, *origin, *patch, Some(Affine { matrix: record.matrix }), Orientation::default(), loaded),
            ..Recipe::draw(&Augmentation::none(), shape, *origin, *patch, 1, &mut ChaCha8Rng::seed_from_u64(0))
        };
        let size = patch.iter().product();
        let made = |recipe: &Recipe| {
            let (mut found, mut found_labels) = (vec![0.0; size], vec![0; size]);
            recipe.image(image.crop(recipe.source()).view(), &mut found, &mut Scratch::default());
            recipe.labels(labels.crop(recipe.source()).view(), &mut found_labels, &mut Scratch::default());
            (found, found_labels)
        };
        let boxed = recipe(Some(record.loaded));
        let (found, found_labels) = made(&boxed);
        // From whole volumes just as from what is needed of them.
        let whole = boxed.of_whole_volumes();
        assert!(made(&whole) == (found.clone(), found_labels.clone()), "{name}");
        let difference = found.iter().zip(&record.image).map(|(found, expected)| (found - expected).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-4, "{name}: images differ by {difference}");
        let different = record.labels.iter().zip(&found_labels).filter(|(expected, found)| expected.is_some_and(|label| label != **found));
        assert_eq!(different.count(), 0, "{name}: labels differ");
        let without = made(&recipe(None)).0;
        zeros += found.iter().zip(&without).filter(|(found, without)| **found == 0.0 && **without != 0.0).count();
        reached += usize::from(found != without);
    }
    assert!(reached * 2 > golden.records.len() && zeros > 100, "{zeros} zeros in {reached} patches prove little");
}
