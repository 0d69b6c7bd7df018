//! The loader as a whole, on a small store.

use std::path::Path;
use std::sync::Arc;

use imaging::augment::{Intensity, Noise, Step};
use imaging::{BoundingBox, Volume};
use tempfile::TempDir;

use super::*;
use data::dataset::{Operation, SEGMENTATION, TargetKind, TargetSource};
use data::kinds::{Class, Labels, Regression};
use data::preprocess::{CaseStore, Inputs, PreprocessedCase, Properties};

const ITERATIONS: u64 = 4;

fn segmentation() -> TargetKind {
    let names = [("background", 0), ("a", 1), ("b", 2)].map(|(name, value)| (name.to_owned(), vec![value]));
    TargetKind::Labels(Labels { names: names.into(), ..Labels::default() })
}

fn of_files(kind: TargetKind) -> Target {
    Target { kind, source: TargetSource::Maps(String::new()), optional: true, weighs: None }
}

fn derived(operation: Operation, kind: TargetKind) -> Target {
    let source = TargetSource::Derived { from: SEGMENTATION.to_owned(), operation };
    Target { kind, source, optional: false, weighs: None }
}

/// Four cases with a ball each; the third has no distance map and no class.
fn store() -> (TempDir, Source) {
    store_with(|_, _| ())
}

/// With the cases changed, by their number.
fn store_with(change: impl Fn(usize, &mut PreprocessedCase)) -> (TempDir, Source) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = CaseStore::new(folder.path(), "test");
    let cases: Vec<String> = (0..4).map(|i| format!("case_{i}")).collect();
    for (i, case) in cases.iter().enumerate() {
        let mut ball = ball(i);
        change(i, &mut ball);
        store.write(case, &ball, [8, 16, 12]).expect("written");
    }
    let targets = [
        ("segmentation", of_files(segmentation())),
        ("distance", of_files(TargetKind::Regression(Regression { channels: 1, pad: 10.0, vectors: false }))),
        ("size", of_files(TargetKind::Class(Class { classes: vec!["small".to_owned(), "large".to_owned()] }))),
        ("depth", derived(Operation::SignedDistance, TargetKind::Regression(Regression { channels: 1, pad: 0.0, vectors: false }))),
        ("border", derived(Operation::Boundary, segmentation())),
    ];
    let source = Source {
        store,
        key: "test".to_owned(),
        cases,
        targets: targets.map(|(name, target)| (name.to_owned(), target)).into(),
        use_mask_for_norm: vec![true, false],
        spacing: [1.0; 3],
    };
    (folder, source)
}

fn ball(number: usize) -> PreprocessedCase {
    let [depth, height, width] = [14 + number, 20, 18];
    let spatial = [depth, height, width];
    let position = |i: usize| [i / (height * width), i / width % height, i % width];
    let distance = |i: usize| {
        let squares = (0..3).map(|axis| (position(i)[axis] as f32 - spatial[axis] as f32 / 2.0).powi(2));
        squares.sum::<f32>().sqrt() - 4.0
    };
    let voxels = depth * height * width;
    let label = |i: usize| match distance(i) {
        d if d < -2.0 => 2,
        d if d < 0.0 => 1,
        d if d < 6.0 => 0,
        _ => -1,
    };
    let labels: Vec<i16> = (0..voxels).map(label).collect();
    let of_class = |class: i16| (0..voxels).filter(|&i| labels[i] == class).map(|i| position(i).map(|p| p as i32)).collect();
    let locations = vec![of_class(1), of_class(2)];
    let image = (0..2 * voxels).map(|i| distance(i % voxels) + (i / voxels) as f32).collect();
    let complete = number != 2;
    let distances = Volume::new([1, depth, height, width], (0..voxels).map(distance).collect());
    PreprocessedCase {
        inputs: Inputs::default(),
        image: Volume::new([2, depth, height, width], image),
        properties: Properties { spacing: [1.0; 3], shape: spatial, bbox: BoundingBox::whole(spatial), shape_after_crop: spatial },
        labels: [("segmentation".to_owned(), Volume::new([1, depth, height, width], labels))].into(),
        maps: complete.then(|| ("distance".to_owned(), distances)).into_iter().collect(),
        classes: complete.then(|| ("size".to_owned(), number % 2)).into_iter().collect(),
        locations: [("segmentation".to_owned(), locations)].into(),
    }
}

fn options(patch: [usize; 3], workers: usize) -> LoaderOptions {
    let dims = if patch[0] == 1 { 2 } else { 3 };
    LoaderOptions {
        seed: 11,
        phase: Phase::Train,
        batch_size: 3,
        patch,
        levels: LoaderOptions::level_shapes(patch, &[[1, 2, 2]]),
        sampling: Sampling::default(),
        foreground: vec![SEGMENTATION.to_owned()],
        augmentation: Augmentation::standard(patch, dims),
        workers,
        share: Share::default(),
    }
}

fn batches(source: &Arc<Source>, options: LoaderOptions, first_epoch: u64, count: usize) -> Vec<Batch> {
    let mut loader = Loader::start(Arc::clone(source), options, ITERATIONS, (first_epoch, 0)).expect("started");
    (0..count).map(|_| loader.next_batch().expect("a batch").clone()).collect()
}

#[test]
fn batches_do_not_depend_on_workers_or_on_where_a_run_starts() {
    let (_folder, source) = store();
    let source = Arc::new(source);
    for patch in [[8, 16, 12], [1, 16, 24]] {
        let reference = batches(&source, options(patch, 1), 0, 12);
        for workers in [2, 7] {
            assert_eq!(batches(&source, options(patch, workers), 0, 12), reference, "{workers} workers");
        }
        assert_eq!(batches(&source, options(patch, 3), 2, 4), reference[8..], "started at epoch 2");
        assert!(reference.windows(2).all(|pair| pair[0].image != pair[1].image));
    }
}

#[test]
fn batches_have_the_promised_shapes_and_miss_what_cases_lack() {
    let (_folder, source) = store();
    let source = Arc::new(source);
    let mut missing = 0;
    for batch in batches(&source, options([8, 16, 12], 2), 0, 12) {
        assert_eq!(batch.image.shape, [3, 2, 8, 16, 12]);
        assert_eq!(batch.targets.keys().collect::<Vec<_>>(), ["segmentation", "distance", "size", "depth", "border"]);
        let Levels::Labels(labels) = &batch.targets["segmentation"].levels else { panic!("wrong kind") };
        assert_eq!(labels.iter().map(|level| &level.shape[..]).collect::<Vec<_>>(), [[3, 1, 8, 16, 12], [3, 1, 8, 8, 6]]);
        assert!(labels.iter().flat_map(|level| &level.data).all(|label| (0..=2).contains(label)));
        assert!(batch.targets["segmentation"].valid().is_empty());
        // One of three samples is forced, and its centre is foreground unless it was turned: here it always holds some.
        assert!(labels[0].data[2 * 8 * 16 * 12..].iter().any(|label| *label > 0));

        let distance = &batch.targets["distance"];
        let Levels::Regression(levels) = &distance.levels else { panic!("wrong kind") };
        let Levels::Class(classes) = &batch.targets["size"].levels else { panic!("wrong kind") };
        assert_eq!(levels[1].shape, [3, 1, 8, 8, 6]);
        for (index, case) in batch.cases.iter().enumerate() {
            let present = case != "case_2";
            assert_eq!(distance.presence[index], present);
            assert_eq!(batch.targets["size"].presence[index], present);
            assert!(present || !distance.valid().is_empty());
            for (level, valid) in levels.iter().zip(distance.valid()) {
                let voxels = level.data.len() / 3;
                let range = index * voxels..(index + 1) * voxels;
                assert_eq!(valid.data[range.clone()].iter().any(|valid| *valid), present);
                assert_eq!(level.data[range].iter().any(|value| *value != 0.0), present);
            }
            if !present {
                missing += 1;
                assert_eq!(classes.data[index], 0);
            }
        }
    }
    assert!(missing > 0, "the case without a distance map was drawn");
}

#[test]
fn cases_are_drawn_by_weight_and_classes_evenly() {
    let (_folder, source) = store();
    let source = Arc::new(source);
    let drawn = |sampling: Sampling| {
        let options = LoaderOptions { sampling, augmentation: Augmentation::none(), ..options([4, 4, 4], 1) };
        let batches = batches(&source, options, 0, 200);
        let count = |case: &str| batches.iter().flat_map(|batch| &batch.cases).filter(|other| *other == case).count();
        ["case_0", "case_1", "case_2", "case_3"].map(count)
    };
    let weights = [("case_0", 0.0), ("case_1", 3.0)].map(|(case, weight)| (case.to_owned(), weight)).into();
    let counts = drawn(Sampling { case_weights: weights, ..Sampling::default() });
    assert!(counts[0] == 0 && (320..400).contains(&counts[1]) && (90..150).contains(&counts[2]), "{counts:?}");
    let counts = drawn(Sampling { class_balanced: true, foreground_share: 1.0, ..Sampling::default() });
    assert!(counts.iter().all(|count| (110..190).contains(count)), "{counts:?}");

    // Only one case has class 1 (label 2 is everywhere): half of the samples are centred on it.
    let (_folder, rare) = store_with(|number, case| {
        if number != 1 {
            case.locations[SEGMENTATION][0].clear();
        }
    });
    let options = |class_balanced| LoaderOptions {
        sampling: Sampling { class_balanced, foreground_share: 1.0, ..Sampling::default() },
        augmentation: Augmentation::none(),
        ..options([4, 4, 4], 1)
    };
    let rare = Arc::new(rare);
    let share = |class_balanced| {
        let batches = batches(&rare, options(class_balanced), 0, 100);
        batches.iter().flat_map(|batch| &batch.cases).filter(|case| *case == "case_1").count()
    };
    // 1/2 + 1/2 · 1/4 of 300, and 1/4 of 300.
    assert!((160..215).contains(&share(true)) && (50..100).contains(&share(false)), "{} {}", share(true), share(false));
}

#[test]
fn derived_targets_follow_from_the_augmented_labels() {
    let (_folder, source) = store();
    let source = Arc::new(source);
    let mut without_border = 0;
    for batch in batches(&source, options([8, 16, 12], 1), 0, 12) {
        let Levels::Labels(labels) = &batch.targets[SEGMENTATION].levels else { panic!("wrong kind") };
        let Levels::Regression(depth) = &batch.targets["depth"].levels else { panic!("wrong kind") };
        let Levels::Labels(border) = &batch.targets["border"].levels else { panic!("wrong kind") };
        let voxels = 8 * 16 * 12;
        for index in 0..3 {
            let range = index * voxels..(index + 1) * voxels;
            let foreground = labels[0].data[range.clone()].iter().filter(|label| **label > 0).count();
            if foreground == 0 || foreground == voxels {
                without_border += 1;
                assert!(batch.targets["depth"].valid()[0].data[range].iter().all(|valid| !valid));
                continue;
            }
            for voxel in range {
                let (label, depth, border) = (labels[0].data[voxel], depth[0].data[voxel], border[0].data[voxel]);
                assert_eq!(label > 0, depth < 0.0);
                assert!(border == 0 || label > 0);
                assert!(label == 0 || depth > -1.01 || border == 0 || border == 1);
            }
        }
    }
    assert!(without_border < 30, "{without_border} of 36 patches show no border");
}

/// nnU-Net's worker processes start with the same state of torch's generator, so that their first batches share gates, flips and noise.
#[test]
fn no_two_samples_share_random_numbers() {
    let (_folder, source) = store();
    let patch = [14, 20, 18];
    let source = Arc::new(Source { cases: vec!["case_0".to_owned()], ..source });
    // The patch is the whole case: nothing but noise differs.
    let noise = Step { probability: 1.0, transform: Intensity::Noise(Noise { sigma: [1.0, 1.0] }) };
    let augmentation = Augmentation { intensity: vec![noise], ..Augmentation::none() };
    let sampling = Sampling { foreground_share: 0.0, ..Sampling::default() };
    let plain = LoaderOptions { augmentation: Augmentation::none(), phase: Phase::Validate, sampling, ..options(patch, 1) };
    let original = batches(&source, plain.clone(), 0, 1).remove(0);
    let options = LoaderOptions { augmentation, workers: 7, ..plain };
    let voxels = 2 * patch.iter().product::<usize>();
    let mut noises: Vec<Vec<f32>> = Vec::new();
    for batch in batches(&source, options, 0, 14) {
        for sample in 0..3 {
            let difference = batch.image.sample(sample).iter().zip(original.image.sample(0)).map(|(noisy, clean)| noisy - clean);
            noises.push(difference.collect());
        }
    }
    for (number, noise) in noises.iter().enumerate() {
        for other in &noises[..number] {
            let correlation = noise.iter().zip(other).map(|(a, b)| a * b).sum::<f32>() / voxels as f32;
            assert!(correlation.abs() < 0.06, "samples share noise: {correlation}");
        }
    }
}

#[test]
fn training_patches_are_zero_outside_the_mask_where_the_plan_says_so() {
    let (_folder, source) = store();
    let source = Arc::new(source);
    let corner = |mask| {
        let augmentation = Augmentation { mask, ..Augmentation::none() };
        let batch = &batches(&source, LoaderOptions { augmentation, ..options([14, 20, 18], 1) }, 0, 1)[0];
        let voxels = 14 * 20 * 18;
        // Of the first sample, which is not forced: outermost voxels of the masked and of the other channel.
        (batch.image.data[0] == 0.0, batch.image.data[voxels] == 0.0)
    };
    assert_eq!(corner(true), (true, false));
    // As validation patches are, and those of nnUNetTrainerNoDA.
    assert_eq!(corner(Augmentation::none().mask), (false, false));
}

#[test]
fn a_case_that_cannot_be_read_is_an_error_with_its_name_and_dropping_never_hangs() {
    let (_folder, mut source) = store();
    source.cases = vec!["case_0".to_owned(), "case_9".to_owned()];
    std::fs::write(source.store.path("case_9"), b"not a case").expect("written");
    let mut loader = Loader::start(Arc::new(source), options([8, 16, 12], 2), ITERATIONS, (0, 0)).expect("started");
    let error = (0..100).find_map(|_| loader.next_batch().err()).expect("case_9 is drawn");
    let message = error.to_string();
    assert!(message.starts_with("case case_9: ") && message.contains("case_9.zarr.zip"), "{message}");
    assert!(matches!(loader.next_batch(), Err(Error::Ended { .. })), "no batch after an error");
    // The other worker is at work, or blocked on a full channel.
    drop(loader);
}

#[test]
fn stores_of_another_shape_are_refused() {
    let (_folder, mut source) = store();
    source.use_mask_for_norm = vec![false];
    let mut loader = Loader::start(Arc::new(source), options([8, 16, 12], 1), 1, (0, 0)).expect("started");
    let message = loader.next_batch().expect_err("must be refused").to_string();
    assert!(message.contains("image with 2 channels, expected 1 channels"), "{message}");
}

#[test]
fn contradictions_are_refused_before_any_thread_starts() {
    let (_folder, source) = store();
    let refuse = |source: &Source, change: &dyn Fn(&mut LoaderOptions)| {
        let mut options = options([8, 16, 12], 1);
        change(&mut options);
        Loader::start(Arc::new(source.clone()), options, 1, (0, 0)).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(refuse(&source, &|options| options.batch_size = 0).contains("batch size 0"));
    assert!(refuse(&source, &|options| options.levels = vec![[4, 8, 6]]).contains("levels [[4, 8, 6]]"));
    let message = refuse(&source, &|options| options.foreground = vec!["distance".to_owned()]);
    assert!(message.contains("\"distance\"") && message.ends_with("a labels target: segmentation"), "{message}");
    assert!(refuse(&source, &|options| options.foreground = vec!["border".to_owned()]).contains("a labels target: segmentation"));
    assert!(refuse(&source, &|options| options.sampling.foreground_share = 1.5).contains("a share of 1.5"));
    let weights = |weights: &[(&str, f64)]| weights.iter().map(|(case, weight)| ((*case).to_owned(), *weight)).collect();
    assert!(refuse(&source, &|options| options.sampling.case_weights = weights(&[("case_0", -1.0)])).contains("weight -1 of case case_0"));
    let none = [("case_0", 0.0), ("case_1", 0.0), ("case_2", 0.0), ("case_3", 0.0)];
    assert!(refuse(&source, &|options| options.sampling.case_weights = weights(&none)).contains("no training case with a weight above 0"));
    assert!(refuse(&Source { cases: vec![], ..source.clone() }, &|_| ()).contains("no cases"));
}

#[test]
fn levels_are_rounded_as_python_rounds() {
    let strides = [[1, 2, 2], [2, 2, 2]];
    assert_eq!(LoaderOptions::level_shapes([40, 56, 40], &strides), [[40, 56, 40], [40, 28, 20], [20, 14, 10]]);
    // 5 / 2 = 2.5 becomes 2, 7 / 2 = 3.5 becomes 4.
    assert_eq!(LoaderOptions::level_shapes([1, 5, 7], &strides[..1])[1], [1, 2, 4]);
}

#[test]
fn the_data_key_changes_with_all_that_changes_batches() {
    let (_folder, source) = store();
    let base = options([8, 16, 12], 1);
    let key = data_key(&source, &base);
    assert!(key.len() == 16 && key.chars().all(|c| c.is_ascii_hexdigit()), "{key}");
    assert_eq!(
        key,
        data_key(&Source { store: CaseStore::new(Path::new("elsewhere"), "test"), ..source.clone() }, &options([8, 16, 12], 9))
    );
    let others = [
        data_key(&source, &LoaderOptions { seed: 12, ..base.clone() }),
        data_key(&source, &LoaderOptions { augmentation: Augmentation::none(), ..base.clone() }),
        data_key(&source, &LoaderOptions { sampling: Sampling { foreground_share: 0.5, ..Sampling::default() }, ..base.clone() }),
        data_key(&Source { cases: source.cases[1..].to_vec(), ..source.clone() }, &base),
        data_key(&Source { key: "other".to_owned(), ..source.clone() }, &base),
    ];
    assert!(others.iter().all(|other| *other != key));
}
