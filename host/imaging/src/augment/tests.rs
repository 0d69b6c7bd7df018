//! The pipeline as a whole; single transforms are tested in their own files and against golden numbers.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Smooth waves, so that interpolating a threshold and thresholding an interpolation agree.
fn waves(shape: [usize; 4]) -> Volume<f32> {
    let [_, depth, height, width] = shape;
    let value = |i: usize| {
        let (c, z, y, x) = (i / (depth * height * width), i / (height * width) % depth, i / width % height, i % width);
        (c as f32 + z as f32 / 5.0).sin() + (y as f32 / 7.0 + x as f32 / 6.0).cos()
    };
    Volume::new(shape, (0..shape.iter().product()).map(value).collect())
}

/// Draws a patch, cuts what it needs out of whole volumes, and makes it.
fn vary(
    augmentation: &Augmentation,
    image: &Volume<f32>,
    targets: &[Target],
    origin: [i64; 3],
    size: [usize; 3],
    rng: &mut ChaCha8Rng,
) -> (Volume<f32>, Vec<AugmentedTarget>) {
    let patch = Patch::draw(augmentation, image.spatial(), origin, size, rng);
    let (image, targets) = part(&patch, image, targets);
    augment(augmentation, &patch, image, targets, rng)
}

fn part(patch: &Patch, image: &Volume<f32>, targets: &[Target]) -> (Volume<f32>, Vec<Target>) {
    let crop = |target: &Target| match target {
        Target::Labels(labels) => Target::Labels(labels.crop(patch.source())),
        Target::Regression { values, pad } => Target::Regression { values: values.crop(patch.source()), pad: *pad },
    };
    (image.crop(patch.source()), targets.iter().map(crop).collect())
}

fn generator(sample: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(sample)
}

#[test]
fn all_targets_move_as_the_image_does() {
    let image = waves([1, 30, 40, 36]);
    let thresholded = Volume::new(image.shape(), image.data().iter().map(|v| i16::from(*v > 0.3)).collect());
    for (dims, patch) in [(3, [20, 24, 28]), (3, [6, 30, 28]), (2, [1, 32, 28])] {
        let mut augmentation = Augmentation::standard(patch, dims);
        augmentation.intensity.clear();
        let mut equal = 0;
        let mut compared = 0;
        for sample in 0..40 {
            let targets = [Target::Regression { values: image.clone(), pad: 0.0 }, Target::Labels(thresholded.clone())];
            let origin = [sample as i64 % 5 * 3, 7, -4];
            let (image, targets) = vary(&augmentation, &image, &targets, origin, patch, &mut generator(sample));
            let [AugmentedTarget::Regression { values, valid }, AugmentedTarget::Labels(labels)] = &targets[..] else {
                panic!("kinds of targets changed")
            };
            assert_eq!(values, &image);
            for ((value, label), valid) in image.data().iter().zip(labels.data()).zip(valid.data()) {
                // The vote against the padding label shifts the border by no more than half a voxel.
                if *valid && *label >= 0 {
                    compared += 1;
                    equal += usize::from(i16::from(*value > 0.3) == *label);
                }
            }
        }
        assert!(compared > 40 * patch.iter().product::<usize>() / 2);
        let share = equal as f64 / compared as f64;
        assert!(share > 0.99, "{patch:?}: labels agree with the image in {share}");
    }
}

#[test]
fn the_part_that_a_patch_needs_gives_what_the_whole_volume_gives() {
    let shape = [2, 40, 44, 48];
    let spatial = [shape[1], shape[2], shape[3]];
    let image = waves(shape);
    let labels = Volume::new([1, 40, 44, 48], image.channel(0).iter().map(|v| (*v * 3.0) as i16).collect());
    let targets = [Target::Labels(labels), Target::Regression { values: image.clone(), pad: 7.0 }];
    let (mut turned, mut smaller) = (0, 0);
    for (dims, size) in [(3, [12, 10, 14]), (3, [9, 40, 30]), (3, [48, 50, 60]), (2, [1, 20, 24])] {
        let standard = Augmentation::standard(size, dims);
        let free = Spatial { rotation_degrees: [-180.0, 180.0], in_plane: dims == 2, ..standard.spatial.clone().expect("default") };
        let always =
            Augmentation { spatial: Some(Spatial { rotation_probability: 1.0, scaling_probability: 0.7, ..free }), ..Augmentation::none() };
        for augmentation in [standard, always] {
            for sample in 0..60 {
                let mut rng = generator(sample);
                // Inside, over every border, and now and then outside altogether.
                let place = |axis: usize, rng: &mut ChaCha8Rng| rng.random_range(-(size[axis] as i64) - 3..spatial[axis] as i64 + 3);
                let origin = std::array::from_fn(|axis| place(axis, &mut rng));
                let patch = Patch::draw(&augmentation, spatial, origin, size, &mut rng);
                let mut whole = patch.clone();
                whole.source = crate::BoundingBox::whole(spatial);
                let (part_of_image, part_of_targets) = part(&patch, &image, &targets);
                let found = augment(&augmentation, &patch, part_of_image, part_of_targets, &mut rng.clone());
                let expected = augment(&augmentation, &whole, image.clone(), targets.to_vec(), &mut rng);
                assert_eq!(found, expected, "sample {sample}, patch {patch:?}");
                turned += usize::from(augmentation.intensity.is_empty());
                smaller += usize::from(patch.source.size().iter().product::<usize>() * 2 < spatial.iter().product());
            }
        }
    }
    assert!(turned >= 240 && smaller > 200, "{turned} turned, {smaller} that need less than half of the volume");
}

#[test]
fn what_lies_outside_is_padding() {
    let image = Volume::filled([1, 8, 8, 8], 1.0);
    let labels = Volume::filled([1, 8, 8, 8], 3_i16);
    let spatial = Spatial {
        rotation_probability: 1.0,
        rotation_degrees: [30.0, 30.0],
        scaling_probability: 1.0,
        scaling: [1.4, 1.4],
        in_plane: false,
    };
    for spatial in [None, Some(spatial)] {
        let augmentation = Augmentation { spatial, ..Augmentation::none() };
        let targets = [Target::Labels(labels.clone()), Target::Regression { values: image.clone(), pad: 10.0 }];
        let (image, targets) = vary(&augmentation, &image, &targets, [-4; 3], [16; 3], &mut generator(0));
        let [AugmentedTarget::Labels(labels), AugmentedTarget::Regression { values, valid }] = &targets[..] else {
            panic!("kinds of targets changed")
        };
        let centre = (8 * 16 + 8) * 16 + 8;
        assert_eq!((image.data()[centre], labels.data()[centre], values.data()[centre], valid.data()[centre]), (1.0, 3, 1.0, true));
        assert_eq!((image.data()[0], labels.data()[0], values.data()[0], valid.data()[0]), (0.0, -1, 10.0, false));
        assert!(labels.data().iter().all(|label| [-1, 3].contains(label)));
        // Where a patch is neither turned nor scaled, exactly the padding is not valid.
        if augmentation.spatial.is_none() {
            assert_eq!(valid.data().iter().filter(|valid| **valid).count(), 8 * 8 * 8);
            assert!(valid.data().iter().zip(labels.data()).all(|(valid, label)| *valid == (*label == 3)));
        }
    }
}

#[test]
fn none_crops_and_equal_random_numbers_make_equal_patches() {
    let image = waves([2, 12, 13, 14]);
    let (patch, origin) = ([8, 8, 8], [2, 3, 4]);
    let (plain, _) = vary(&Augmentation::none(), &image, &[], origin, patch, &mut generator(1));
    assert_eq!(plain, image.crop(&crate::BoundingBox { lower: [2, 3, 4], upper: [10, 11, 12] }));
    let standard = Augmentation::standard(patch, 3);
    let run = |sample| vary(&standard, &image, &[], origin, patch, &mut generator(sample)).0;
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn each_transform_is_applied_as_often_as_it_should() {
    let spatial = Augmentation::standard([16; 3], 3).spatial.expect("the default turns and scales");
    let mut rng = generator(3);
    let moved = (0..5000).filter(|_| spatial.draw(&mut rng).is_some()).count();
    assert!((1700..1900).contains(&moved), "{moved} of 5000 patches turned or scaled, 0.36 expected");
}

#[test]
fn angles_follow_the_shape_of_the_patch() {
    let spatial = |patch, dims| Augmentation::standard(patch, dims).spatial.map(|s| (s.rotation_degrees[1], s.in_plane));
    assert_eq!(spatial([40, 56, 40], 3), Some((30.0, false)));
    assert_eq!(spatial([16, 256, 256], 3), Some((180.0, true)));
    assert_eq!(spatial([16, 48, 48], 3), Some((30.0, false)));
    assert_eq!(spatial([1, 56, 40], 2), Some((180.0, true)));
    assert_eq!(spatial([1, 512, 256], 2), Some((15.0, true)));
    assert_eq!(Augmentation::named("default", [1, 56, 40], 2), Some(Augmentation::standard([1, 56, 40], 2)));
    assert_eq!(Augmentation::named("heavy", [1, 56, 40], 2), None);
}

/// Not an assertion: prints the mean time a patch takes. `cargo test --release -p imaging -- --ignored --nocapture time`
#[test]
#[ignore = "measures"]
fn time_per_patch() {
    const SAMPLES: u64 = 400;
    let patch = [40, 56, 40];
    let image = waves([1, 60, 70, 60]);
    let labels = Volume::new(image.shape(), image.data().iter().map(|v| (*v * 2.0) as i16).collect());
    let targets = [Target::Labels(labels)];
    let time = |name: &str, augmentation: &Augmentation| {
        let start = std::time::Instant::now();
        for sample in 0..SAMPLES {
            std::hint::black_box(vary(augmentation, &image, &targets, [8, 9, 10], patch, &mut generator(sample)));
        }
        println!("{name}: {:.2} ms", start.elapsed().as_secs_f64() * 1e3 / SAMPLES as f64);
    };
    let standard = Augmentation::standard(patch, 3);
    time("default", &standard);
    time("none", &Augmentation::none());
    let mut always = Augmentation { spatial: standard.spatial.clone(), ..Augmentation::none() };
    if let Some(spatial) = &mut always.spatial {
        spatial.rotation_probability = 1.0;
    }
    time("always turned", &always);
    for step in standard.intensity {
        let name = format!("always {:?}", step.transform);
        let step = Step { probability: 1.0, ..step };
        time(&name, &Augmentation { intensity: vec![step], ..Augmentation::none() });
    }
}
