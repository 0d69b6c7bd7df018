//! Every variant of every function that this processor supports, compared to the bit.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Variant;
use crate::Volume;
use crate::augment::{Augmentation, Intensity, Recipe, Scratch, Spatial, Step};
use crate::resample::{Order, Rule, resample_argmax, resample_regions};

/// Voxels along x: fewer than a vector has, a little more or less than the loops take at once (8, 16, 64 and 128), and just as many.
const WIDTHS: [usize; 17] = [1, 2, 3, 5, 8, 13, 15, 16, 17, 31, 33, 63, 64, 65, 100, 128, 131];

/// A source file, from `src` on, and a function in it.
type Function = (String, String);

thread_local! {
    /// What functions that are called on this thread use instead of the best variant.
    static DEMANDED: Cell<Option<Variant>> = const { Cell::new(None) };
    /// Functions that were called while a variant was demanded.
    static CALLED: RefCell<BTreeSet<Function>> = const { RefCell::new(BTreeSet::new()) };
}

/// The variant that a function has to use, if not the best. Every call of every function asks, and is noted.
pub(crate) fn demanded(file: &str, function: &str) -> Option<Variant> {
    let variant = DEMANDED.get()?;
    let file = file.rsplit_once("src/").map_or(file, |(_, file)| file);
    CALLED.with_borrow_mut(|called| called.insert((file.to_owned(), function.to_owned())));
    Some(variant)
}

/// Functions with several variants that the sources declare.
fn declared() -> BTreeSet<Function> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut functions = BTreeSet::new();
    for path in sources(&root) {
        let text = fs::read_to_string(&path).unwrap();
        let file = path.strip_prefix(&root).unwrap().display().to_string();
        for declaration in text.split("\nmultiversion! {\n").skip(1) {
            let name = declaration.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name);
            functions.insert((file.clone(), name.expect("a function").to_owned()));
        }
    }
    functions
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let sources = paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    sources.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// What was made, and its voxels as bits.
type Made = Vec<(String, Vec<u32>)>;

#[test]
fn every_variant_that_the_processor_supports_makes_the_same_bits() {
    let declared = declared();
    let make = |variant| {
        DEMANDED.set(Some(variant));
        let made: Made = patches().into_iter().chain(label_maps()).collect();
        DEMANDED.set(None);
        assert_eq!(
            CALLED.take(),
            declared,
            "left: called with {variant:?}; right: all functions. `patches` or `label_maps` must call each"
        );
        made
    };
    let (supported, unsupported): (Vec<_>, Vec<_>) = Variant::all().partition(|(_, supported)| *supported);
    let [supported, unsupported] = [supported, unsupported].map(|list| list.into_iter().map(|(variant, _)| variant).collect::<Vec<_>>());
    // Past the capture of output: what could not be compared has to be seen, although the test passes.
    writeln!(std::io::stderr(), "variants compared: {supported:?}; not supported by this processor: {unsupported:?}").unwrap();
    let expected = make(Variant::Portable);
    for variant in supported.into_iter().skip(1) {
        for ((name, expected), (_, found)) in expected.iter().zip(make(variant)) {
            let different = expected.iter().zip(&found).position(|(expected, found)| expected != found);
            assert_eq!(different, None, "{name}: {variant:?} differs from Portable at this voxel");
        }
    }
}

/// Patches of random volumes, over whose borders they reach, moved in every way and changed by every transform.
fn patches() -> Made {
    let (mut made, mut scratch) = (Made::new(), Scratch::default());
    for (patch, dims) in WIDTHS.into_iter().flat_map(|width| [([1, 7, width], 2), ([3, 5, width], 3)]) {
        let mut rng = ChaCha8Rng::seed_from_u64(patch[2] as u64);
        let volume = [patch[0] + 12, patch[2].max(9), patch[2] + 4];
        let shape = [1, volume[0], volume[1], volume[2]];
        let voxels = shape.iter().product::<usize>();
        let intensities = (0..voxels).map(|_| if rng.random_bool(0.1) { 0.0 } else { rng.random_range(-4.0..4.0) }).collect();
        let image = Volume::new(shape, intensities);
        let labels = (0..voxels).map(|_| if rng.random_bool(0.15) { rng.random_range(1..3_i16) } else { 0 }).collect();
        let labels = Volume::new(shape, labels);
        for (name, augmentation) in augmentations(patch, dims) {
            for sample in 0..4 {
                let recipe = Recipe::draw(&augmentation, volume, [1, 2, -1], patch, 1, &mut rng).of_whole_volumes();
                let size = patch.iter().product();
                let (mut image_patch, mut label_patch) = (vec![0.0; size], vec![0; size]);
                recipe.image(image.view(), &mut image_patch, &mut scratch);
                recipe.labels(labels.view(), &mut label_patch, &mut scratch);
                let name = format!("{name}, patch {patch:?}, sample {sample}");
                made.push((format!("image, {name}"), image_patch.into_iter().map(f32::to_bits).collect()));
                made.push((format!("labels, {name}"), bits(&label_patch)));
            }
        }
    }
    made
}

/// Each way to move a patch and each transform of intensities on its own, then all transforms of a pipeline after one another.
fn augmentations(patch: [usize; 3], dims: usize) -> Vec<(String, Augmentation)> {
    let [standard, da5] = [Augmentation::standard(patch, dims), Augmentation::da5(patch, dims)];
    let spatial = standard.spatial.clone().expect("patches are turned and scaled");
    let moved = |name: &str, spatial: Spatial| (name.to_owned(), Augmentation { spatial: Some(spatial), ..Augmentation::none() });
    let turned = Spatial { rotation_probability: 1.0, scaling_probability: 0.0, in_plane: dims == 2, ..spatial };
    let mut augmentations = vec![
        moved("turned in the plane", Spatial { in_plane: true, ..turned.clone() }),
        moved("scaled", Spatial { rotation_probability: 0.0, scaling_probability: 1.0, ..turned.clone() }),
        moved("turned", turned),
    ];
    let always = |steps: Vec<Step>| steps.into_iter().map(|Step { transform, .. }| Step { probability: 1.0, transform });
    for pipeline in [standard, da5] {
        for step in always(pipeline.intensity.clone()) {
            let steps = if let Intensity::OneOf(steps) = step.transform { always(steps).collect() } else { vec![step] };
            augmentations.extend(
                steps
                    .into_iter()
                    .map(|step| (format!("{:?}", step.transform), Augmentation { intensity: vec![step], ..Augmentation::none() })),
            );
        }
        augmentations.push(("all transforms".to_owned(), Augmentation { intensity: always(pipeline.intensity).collect(), ..pipeline }));
    }
    augmentations
}

/// Label maps of random logits, some of which are infinite or no number; on this thread, where the variant is demanded.
fn label_maps() -> Made {
    let mut made = Made::new();
    for width in WIDTHS {
        let mut rng = ChaCha8Rng::seed_from_u64(width as u64);
        let logit = |_| match rng.random_range(0..100) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            _ => rng.random_range(-4.0..4.0),
        };
        let logits = Volume::new([3, 3, 5, width], (0..3 * 3 * 5 * width).map(logit).collect());
        for order in [Order::Nearest, Order::Linear, Order::Cubic] {
            let rule = Rule { order, ..Rule::LINEAR };
            for new_shape in [[4, 7, width], [2, 5, width + width / 2 + 1]] {
                let name = format!("logits, {width} to {new_shape:?}, {order:?}");
                let [spacing, new_spacing] = [[1.0; 3]; 2];
                let largest = resample_argmax(logits.view(), new_shape, spacing, new_spacing, rule, &[0, 1, 2], 1);
                let regions = resample_regions(logits.view(), new_shape, spacing, new_spacing, rule, &[3, 1, 2], 1);
                made.push((format!("classes of {name}"), bits(largest.data())));
                made.push((format!("regions of {name}"), bits(regions.data())));
            }
        }
    }
    made
}

fn bits(labels: &[i16]) -> Vec<u32> {
    labels.iter().map(|label| u32::from(label.cast_unsigned())).collect()
}
