//! The pipeline as a whole; single transforms are tested in their own files and against golden numbers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::Volume;

/// Smooth waves, so that interpolating a threshold and thresholding an interpolation agree.
fn waves(shape: [usize; 4]) -> Volume<f32> {
    let [_, depth, height, width] = shape;
    let value = |i: usize| {
        let (c, z, y, x) = (i / (depth * height * width), i / (height * width) % depth, i / width % height, i % width);
        (c as f32 + z as f32 / 5.0).sin() + (y as f32 / 7.0 + x as f32 / 6.0).cos()
    };
    Volume::new(shape, (0..shape.iter().product()).map(value).collect())
}

fn generator(sample: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(sample)
}

/// The patch of everything.
#[derive(Debug, PartialEq)]
struct Made {
    image: Vec<f32>,
    labels: Vec<i16>,
    regression: Vec<f32>,
    inside: Vec<bool>,
}

/// Makes a patch of everything out of what `recipe` needs of the volumes. The regression target pads with 7.
fn make(recipe: &Recipe, image: &Volume<f32>, labels: &Volume<i16>, size: [usize; 3]) -> Made {
    let voxels = size.iter().product::<usize>();
    // What was in the memory before must not matter.
    let mut made = Made {
        image: vec![f32::NAN; image.channels() * voxels],
        labels: vec![99; voxels],
        regression: vec![f32::NAN; image.channels() * voxels],
        inside: vec![true; voxels],
    };
    let source = image.crop(recipe.source());
    recipe.image(source.view(), &mut made.image, &mut Scratch::default());
    recipe.labels(labels.crop(recipe.source()).view(), &mut made.labels, &mut Scratch::default());
    recipe.regression(source.view(), 7.0, &mut made.regression);
    recipe.inside(&mut made.inside);
    made
}

fn spatial_only(augmentation: Augmentation) -> Augmentation {
    Augmentation { intensity: Vec::new(), ..augmentation }
}

#[test]
fn the_part_that_a_patch_needs_gives_what_the_whole_volume_gives() {
    let shape = [2, 40, 44, 48];
    let spatial = [shape[1], shape[2], shape[3]];
    let image = waves(shape);
    let labels = Volume::new([1, 40, 44, 48], image.channel(0).iter().map(|v| (*v * 3.0) as i16).collect());
    let (mut turned, mut smaller) = (0, 0);
    for (dims, size) in [(3, [12, 10, 14]), (3, [9, 40, 30]), (3, [48, 50, 60]), (3, [20; 3]), (2, [1, 20, 24]), (2, [1, 33, 33])] {
        for name in ["default", "da5"] {
            let mut augmentation = spatial_only(Augmentation::named(name, size, dims).expect("known"));
            let spatial_part = augmentation.spatial.as_mut().expect("turns");
            spatial_part.rotation_probability = 0.7;
            spatial_part.rotation_degrees = [-180.0, 180.0];
            for sample in 0..60 {
                let mut rng = generator(sample);
                // Inside, over every border, and now and then outside altogether.
                let place = |axis: usize, rng: &mut ChaCha8Rng| rng.random_range(-(size[axis] as i64) - 3..spatial[axis] as i64 + 3);
                let origin = std::array::from_fn(|axis| place(axis, &mut rng));
                let recipe = Recipe::draw(&augmentation, spatial, origin, size, 2, &mut rng);
                let found = make(&recipe, &image, &labels, size);
                let expected = make(&recipe.of_whole_volumes(), &image, &labels, size);
                assert_eq!(found, expected, "sample {sample}, {recipe:?}");
                turned += usize::from(recipe.is_sampled());
                smaller += usize::from(recipe.source().size().iter().product::<usize>() * 2 < spatial.iter().product());
            }
        }
    }
    assert!(turned > 240 && smaller > 200, "{turned} turned, {smaller} that need less than half of the volume");
}

#[test]
fn what_lies_outside_is_padding() {
    let image = Volume::filled([1, 8, 8, 8], 1.0);
    let labels = Volume::filled([1, 8, 8, 8], 3_i16);
    let mut turned = spatial_only(Augmentation::standard([16; 3], 3));
    let spatial = turned.spatial.as_mut().expect("turns");
    (spatial.rotation_probability, spatial.rotation_degrees, spatial.scaling) = (1.0, [30.0, 30.0], [1.4, 1.4]);
    for augmentation in [Augmentation::none(), turned] {
        let recipe = Recipe::draw(&augmentation, [8; 3], [-4; 3], [16; 3], 1, &mut generator(0));
        let made = make(&recipe, &image, &labels, [16; 3]);
        let centre = (8 * 16 + 8) * 16 + 8;
        let at = |i: usize| (made.image[i], made.labels[i], made.regression[i], made.inside[i]);
        assert_eq!((at(centre), at(0)), ((1.0, 3, 1.0, true), (0.0, -1, 7.0, false)));
        assert!(made.labels.iter().all(|label| [-1, 3].contains(label)));
        // Where a patch is neither turned nor scaled, exactly the padding is not valid.
        if !recipe.is_sampled() {
            assert_eq!(made.inside.iter().filter(|valid| **valid).count(), 8 * 8 * 8);
            assert!(made.inside.iter().zip(&made.labels).all(|(valid, label)| *valid == (*label == 3)));
        }
    }
}

#[test]
fn none_crops_and_equal_random_numbers_make_equal_patches() {
    let image = waves([2, 12, 13, 14]);
    let labels = Volume::filled([1, 12, 13, 14], 1_i16);
    let (size, origin) = ([8, 8, 8], [2, 3, 4]);
    let run = |name: &str, sample| {
        let augmentation = Augmentation::named(name, size, 3).expect("known");
        make(&Recipe::draw(&augmentation, image.spatial(), origin, size, 2, &mut generator(sample)), &image, &labels, size)
    };
    assert_eq!(run("none", 1).image, image.crop(&crate::BoundingBox { lower: [2, 3, 4], upper: [10, 11, 12] }).into_data());
    for name in ["default", "da5"] {
        assert_eq!(run(name, 7), run(name, 7));
        assert_ne!(run(name, 7), run(name, 8));
        assert!((0..200).all(|sample| run(name, sample).image.iter().all(|value| value.is_finite())), "{name}");
    }
}

#[test]
fn a_patch_is_the_same_whatever_memory_it_is_made_in() {
    let image = waves([2, 12, 13, 14]);
    let labels = Volume::filled([1, 12, 13, 14], 1_i16);
    let augmentation = Augmentation::da5([8; 3], 3);
    let mut scratch = Scratch::default();
    for sample in 0..100 {
        let recipe = Recipe::draw(&augmentation, image.spatial(), [1, -2, 3], [8; 3], 2, &mut generator(sample));
        let mut used = vec![-5.0; 2 * 512];
        recipe.image(image.crop(recipe.source()).view(), &mut used, &mut scratch);
        assert_eq!(used, make(&recipe, &image, &labels, [8; 3]).image);
    }
}

#[test]
fn angles_follow_the_shape_of_the_patch() {
    let spatial = |patch, dims| Augmentation::standard(patch, dims).spatial.map(|s| (s.rotation_degrees[1], s.in_plane));
    assert_eq!(spatial([40, 56, 40], 3), Some((30.0, false)));
    assert_eq!(spatial([16, 256, 256], 3), Some((180.0, true)));
    assert_eq!(spatial([16, 48, 48], 3), Some((30.0, false)));
    assert_eq!(spatial([1, 56, 40], 2), Some((180.0, true)));
    assert_eq!(spatial([1, 512, 256], 2), Some((15.0, true)));
    let axes = |patch, dims| Augmentation::da5(patch, dims).turn.map(|turn| turn.axes);
    assert_eq!(axes([64; 3], 3), Some(vec![0, 1, 2]));
    assert_eq!(axes([16, 64, 64], 3), Some(vec![1, 2]));
    assert_eq!(axes([16, 32, 64], 3), None);
    assert_eq!(axes([1, 64, 64], 2), Some(vec![1, 2]));
    assert_eq!(Augmentation::named("default", [1, 56, 40], 2), Some(Augmentation::standard([1, 56, 40], 2)));
    assert_eq!(Augmentation::named("heavy", [1, 56, 40], 2), None);
}

#[test]
fn named_pipelines_survive_json_and_broken_ones_name_the_key() {
    for (patch, dims) in [([16; 3], 3), ([4, 32, 32], 3), ([1, 40, 30], 2)] {
        for name in Augmentation::NAMES {
            let augmentation = Augmentation::named(name, patch, dims).expect("known");
            augmentation.check(patch).expect("valid");
            let text = serde_json::to_string(&augmentation).expect("plain data");
            assert_eq!(serde_json::from_str::<Augmentation>(&text).expect("the same"), augmentation);
        }
    }
    let broken = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = serde_json::to_value(Augmentation::da5([16; 3], 3)).expect("plain data");
        change(&mut json);
        match serde_json::from_value::<Augmentation>(json) {
            Ok(augmentation) => augmentation.check([16, 16, 8]).expect_err("must be refused").to_string(),
            Err(error) => error.to_string(),
        }
    };
    let set = |path: &'static str, value: serde_json::Value| {
        move |json: &mut serde_json::Value| *json.pointer_mut(path).expect("there") = value.clone()
    };
    assert!(broken(&set("/spatial/scaling", [1.4, 0.7].into())).starts_with("spatial.scaling is [1.4, 0.7], expected [least, greatest]"));
    assert!(broken(&set("/spatial/image", "cubic".into())).contains("unknown variant `cubic`"));
    assert!(broken(&|_| ()).contains("turn.axes is [0, 1, 2], expected axes along which the patch [16, 16, 8] has one size"));
    let mut without_turn = serde_json::to_value(Augmentation::da5([16; 3], 3)).expect("plain data");
    without_turn["turn"] = serde_json::Value::Null;
    let place = "/intensity/0/transform/one_of/1/transform/blur/sigma";
    *without_turn.pointer_mut(place).expect("there") = [0.0, 1.0].into();
    let message =
        serde_json::from_value::<Augmentation>(without_turn).expect("parses").check([16; 3]).expect_err("must be refused").to_string();
    assert!(message.starts_with("intensity[0].one_of[1].blur.sigma is [0.0, 1.0]"), "{message}");
}

#[test]
fn the_previous_stage_is_one_channel_a_label_and_imperfect_in_training() {
    let labels = waves([1, 12, 16, 14]);
    let labels = Volume::new(labels.shape(), labels.data().iter().map(|v| (*v * 2.0) as i16).collect());
    let size = [8, 10, 9];
    let make = |augmentation: &Augmentation, sample| {
        let recipe = Recipe::draw(augmentation, [12, 16, 14], [2, 3, 1], size, 1, &mut generator(sample));
        let (mut channels, mut patch, mut scratch) = (vec![9.0; 2 * 720], vec![0; 720], Scratch::default());
        let source = labels.crop(recipe.source());
        recipe.previous_stage(source.view(), &[1, 2], &mut channels, &mut scratch);
        recipe.labels(source.view(), &mut patch, &mut scratch);
        let exact =
            [1, 2].iter().flat_map(|label| patch.iter().map(move |found| if found == label { 1.0 } else { 0.0 })).collect::<Vec<_>>();
        (channels, exact)
    };
    let (channels, exact) = make(&Augmentation::none(), 0);
    assert_eq!(channels, exact);
    let changed = (0..200).filter(|sample| {
        let (channels, exact) = make(&Augmentation::standard(size, 3), *sample);
        assert!(channels.iter().all(|value| [0.0, 1.0].contains(value)));
        assert_eq!(channels, make(&Augmentation::standard(size, 3), *sample).0);
        channels != exact
    });
    // Something is done to at least one of two labels in 1 - (1 - 0.4 · 3/4)(1 - 0.2 · 3/4) of all patches; not all of it shows.
    let changed = changed.count();
    assert!((50..90).contains(&changed), "{changed} of 200");
}

/// Calls `visit` with every number of a JSON document.
fn for_each_number(value: &mut serde_json::Value, visit: &mut dyn FnMut(&mut serde_json::Value)) {
    match value {
        serde_json::Value::Number(_) => visit(value),
        serde_json::Value::Array(list) => list.iter_mut().for_each(|item| for_each_number(item, visit)),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(|item| for_each_number(item, visit)),
        _ => {}
    }
}

#[test]
fn whatever_a_file_says_is_refused_or_makes_finite_patches() {
    let odd = [0.0, -1.0, 1.0, 0.5, 1e-300, 1e300, 3.0, 17.0, 0.999_999_999, -0.0, 1e9, 360.0, 0.05, 20.0, 64.0];
    let (mut made, mut refused) = (0, 0);
    for sample in 0..3000 {
        let mut rng = generator(sample);
        let (patch, dims) = [([8, 8, 8], 3), ([3, 9, 9], 3), ([1, 12, 10], 2), ([7, 5, 6], 3)][rng.random_range(0..4)];
        let mut document = serde_json::to_value(Augmentation::da5(patch, dims)).expect("plain data");
        let mut changes = rng.random_range(1..4);
        for_each_number(&mut document, &mut |number| {
            if changes > 0 && rng.random_range(0..40) == 0 {
                changes -= 1;
                let value = odd[rng.random_range(0..odd.len())];
                *number = if number.is_u64() { (value as u64).into() } else { value.into() };
            }
        });
        let augmentation = serde_json::from_value::<Augmentation>(document).ok().filter(|augmentation| augmentation.check(patch).is_ok());
        let Some(mut augmentation) = augmentation else {
            refused += 1;
            continue;
        };
        // Every step is applied, so that what it does is seen.
        augmentation.intensity.iter_mut().for_each(|step| step.probability = 1.0);
        let image = waves([1, 10, 14, 12]);
        let labels = Volume::filled([1, 10, 14, 12], 1_i16);
        let recipe = Recipe::draw(&augmentation, image.spatial(), [1, 2, -3], patch, 1, &mut rng);
        let made_of_it = make(&recipe, &image, &labels, patch);
        assert!(made_of_it.image.iter().all(|value| value.is_finite()), "sample {sample}: {recipe:?}");
        made += 1;
    }
    assert!(made > 500 && refused > 500, "{made} made, {refused} refused");
}
