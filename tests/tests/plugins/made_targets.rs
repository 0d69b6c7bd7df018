//! Targets that a plugin makes itself, on the loader's threads, with the extension `trainer.target-transform/1`.

use data::dataset::{Labels, SEGMENTATION, Target, TargetKind, TargetSource};
use data::preprocess::{CaseStore, Inputs, PreprocessedCase, Properties};
use host::loading::{Array, Batch, Levels, Loader, LoaderOptions, Phase, Sampling, Share, Source, TargetBatch};
use host::network::told;
use host::plugin::{self, LoadedTransform};
use host::train::Makers;
use imaging::augment::{Augmentation, downsample_nearest};
use imaging::{BoundingBox, Volume, VolumeView};
use plugin_api::extensions::{MadeTarget, Sample, TargetPatch, Values, ValuesMut};
use plugin_api::{IndexMap, Task};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tests::artifact;
use tests::program::Bench;

const SHAPE: [usize; 3] = [20, 28, 24];
const PATCH: [usize; 3] = [16, 16, 16];
const SPACING: [f64; 3] = [2.0, 1.0, 1.0];

/// A data set of labels that cases may lack.
fn segmentation() -> Target {
    let names = [("background", 0), ("a", 1), ("b", 2)].map(|(name, value)| (name.to_owned(), vec![value]));
    let kind = TargetKind::Labels(Labels { names: names.into(), ..Labels::default() });
    Target { kind, source: TargetSource::Maps(String::new()), optional: true, weighs: None }
}

fn task(dims: usize) -> Task {
    Task {
        dims,
        patch_size: PATCH[3 - dims..].iter().map(|size| *size as i64).collect(),
        spacing: SPACING[3 - dims..].to_vec(),
        features: vec![4, 8],
        strides: vec![vec![1; dims], vec![2; dims]],
        targets: [(SEGMENTATION.to_owned(), told(&segmentation()))].into(),
        batch_size: 2,
        batch_dice: false,
        epochs: 1,
        iterations: 1,
        device: "cpu".to_owned(),
        seed: 0,
    }
}

fn transform(fixture: &str, options: Value) -> Result<LoadedTransform, String> {
    transform_of(&artifact::fixture(fixture), 3, options)
}

fn transform_of(plugin: &Path, dims: usize, options: Value) -> Result<LoadedTransform, String> {
    let library = plugin::load(plugin, &artifact::this_host()).expect("loads");
    let made = LoadedTransform::create(&library, &mut task(dims), &options).map_err(|error| error.to_string())?;
    Ok(made.expect("the fixture has one"))
}

fn case(labelled: bool) -> PreprocessedCase {
    let [depth, height, width] = SHAPE;
    let count = depth * height * width;
    let label = |i: usize| {
        let (y, x) = (i / width % height, i % width);
        i16::from((5..15).contains(&y) && x > 6) + i16::from((8..12).contains(&y) && x > 14)
    };
    let segmentation = (SEGMENTATION.to_owned(), Volume::new([1, depth, height, width], (0..count).map(label).collect()));
    PreprocessedCase {
        inputs: Inputs::default(),
        image: Volume::new([1, depth, height, width], (0..count).map(|i| (i * 7919 % 1009) as f32 / 500.0).collect()),
        properties: Properties { spacing: SPACING, shape: SHAPE, bbox: BoundingBox::whole(SHAPE), shape_after_crop: SHAPE },
        labels: labelled.then_some(segmentation).into_iter().collect(),
        maps: Default::default(),
        classes: Default::default(),
        locations: Default::default(),
    }
}

/// Two cases, of which `without` has no labels.
fn source(folder: &Path) -> Source {
    let store = CaseStore::new(folder, "test");
    store.write("with", &case(true), PATCH).expect("written");
    store.write("without", &case(false), PATCH).expect("written");
    Source {
        store,
        key: String::new(),
        cases: vec!["with".to_owned(), "without".to_owned()],
        targets: [(SEGMENTATION.to_owned(), segmentation())].into(),
        use_mask_for_norm: vec![false],
        spacing: SPACING,
    }
}

fn options(workers: usize) -> LoaderOptions {
    LoaderOptions {
        seed: 0,
        phase: Phase::Train,
        batch_size: 2,
        patch: PATCH,
        levels: LoaderOptions::level_shapes(PATCH, &[[2; 3]]),
        sampling: Sampling::default(),
        foreground: vec![SEGMENTATION.to_owned()],
        augmentation: Augmentation::named("default", PATCH, 3).expect("known"),
        workers,
        share: Share::default(),
    }
}

/// A batch, and what is made of it for each arm.
type Made = (Batch, Vec<IndexMap<String, TargetBatch>>);

fn batches(source: &Source, makers: &Makers, workers: usize) -> Vec<Made> {
    batches_of(source, makers, options(workers), 0)
}

/// Twelve, from number `first` on.
fn batches_of(source: &Source, makers: &Makers, options: LoaderOptions, first: u64) -> Vec<Made> {
    let (source, makers) = (Arc::new(source.clone()), Arc::new(makers.clone()));
    let mut loader = Loader::with_stage(source, options, makers, 100, (0, first)).expect("started");
    let mut next = || loader.next_with_stage().map(|(batch, made)| (batch.clone(), made.clone()));
    (0..12).map(|_| next().expect("a batch")).collect()
}

/// exp(−d² / 2σ²) of the distance d in mm to the mean position of the voxels of `class`.
fn gaussian(labels: &[i16], class: i16, sigma: f64) -> Vec<f32> {
    let [_, height, width] = PATCH;
    let position = |i: usize| [i / (height * width), i / width % height, i % width].map(|axis| axis as f64);
    let voxels: Vec<[f64; 3]> = (0..labels.len()).filter(|i| labels[*i] == class).map(position).collect();
    let middle = |axis: usize| voxels.iter().map(|voxel| voxel[axis]).sum::<f64>() / voxels.len() as f64;
    let middle = [middle(0), middle(1), middle(2)];
    let square = |i: usize| (0..3).map(|axis| ((position(i)[axis] - middle[axis]) * SPACING[axis]).powi(2)).sum::<f64>();
    (0..labels.len()).map(|i| if voxels.is_empty() { 0.0 } else { (-square(i) / (2.0 * sigma * sigma)).exp() as f32 }).collect()
}

#[test]
fn batches_hold_what_each_plugin_makes_of_them() {
    let folder = artifact::folder();
    let sigmas = [3.0, 6.0];
    let transforms = sigmas.map(|sigma| Some(Arc::new(transform("heatmap", json!({ "sigma": sigma })).expect("made"))));
    let (source, makers) = (source(folder.path()), Makers(transforms.to_vec()));
    let (mut with, mut without) = (0, 0);
    let made = batches(&source, &makers, 1);
    for (batch, made) in &made {
        let Levels::Labels(labels) = &batch.targets[SEGMENTATION].levels else { panic!("labels") };
        for (number, case) in batch.cases.iter().enumerate() {
            for (made, sigma) in made.iter().zip(sigmas) {
                let heatmap = &made["heatmap"];
                let Levels::Regression(levels) = &heatmap.levels else { panic!("real values") };
                if case == "without" {
                    without += 1;
                    assert!(!heatmap.presence[number] && levels.iter().all(|level| level.sample(number).iter().all(|value| *value == 0.0)));
                    assert!(heatmap.valid()[0].sample(number).iter().all(|valid| !valid));
                    continue;
                }
                with += 1;
                assert!(heatmap.presence[number]);
                let expected = [1, 2].map(|class| gaussian(labels[0].sample(number), class, sigma)).concat();
                let off = levels[0].sample(number).iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-5, "{off}");
                let [z, y, x] = PATCH;
                let mut coarse = vec![0.0; 2 * 8 * 8 * 8];
                downsample_nearest(VolumeView { shape: [2, z, y, x], data: levels[0].sample(number) }, [8; 3], &mut coarse);
                assert_eq!(levels[1].sample(number), coarse);
            }
        }
    }
    assert!(with > 5 && without > 5, "{with} {without}");
    assert_eq!(batches(&source, &makers, 3), made, "three workers share the transform");
    for ((plain, _), (batch, _)) in batches(&source, &Makers(Vec::new()), 1).iter().zip(&made) {
        assert!(plain == batch, "what the data set says is the same with and without");
    }
}

/// That the coarser of `levels` are the nearest voxels of the finest, for sample `number`.
fn assert_coarser<T: Copy + PartialEq + std::fmt::Debug>(levels: &[Array<T>], number: usize) {
    let shape = |level: &Array<T>| [level.shape[1], level.shape[2], level.shape[3], level.shape[4]];
    let [channels, z, y, x] = shape(&levels[1]);
    let mut coarse = vec![levels[0].data[0]; channels * z * y * x];
    downsample_nearest(VolumeView { shape: shape(&levels[0]), data: levels[0].sample(number) }, [z, y, x], &mut coarse);
    assert_eq!(levels[1].sample(number), coarse);
}

/// Sample `number` of `batch`, whose targets are those of `all-kinds`. Returns its class and whether it has the target `maybe`.
fn check_all_kinds(batch: &Batch, made: &IndexMap<String, TargetBatch>, number: usize) -> (i64, bool) {
    let (Levels::Labels(segmentation), image) = (&batch.targets[SEGMENTATION].levels, batch.image.sample(number)) else { panic!("labels") };
    let labels = segmentation[0].sample(number);
    let Levels::Regions(regions) = &made["parts"].levels else { panic!("regions") };
    let all: Vec<&[bool]> = regions[0].sample(number).chunks_exact(labels.len()).collect();
    let ignored = all[2];
    assert!(labels.iter().zip(all[0]).zip(all[1]).all(|((label, whole), core)| (*whole, *core) == (*label > 0, *label > 1)));
    assert_coarser(regions, number);
    let Levels::Labels(moved) = &made["moved"].levels else { panic!("labels") };
    let expected = labels.iter().zip(ignored).map(|(label, ignored)| if *ignored { 3 } else { (label + 1) % 3 });
    assert_eq!(moved[0].sample(number), expected.collect::<Vec<i16>>());
    assert_coarser(moved, number);
    assert!(made["moved"].presence[number] && made["moved"].valid().iter().all(|level| level.sample(number).iter().all(|valid| *valid)));
    // Its NaNs are gone.
    let Levels::Regression(flow) = &made["arrows"].levels else { panic!("real values") };
    for (axis, channel) in flow[0].sample(number).chunks_exact(labels.len()).enumerate() {
        let value = |(label, image): (&i16, &f32)| if *label > 0 { axis as f32 + image } else { 0.0 };
        assert_eq!(channel, labels.iter().zip(image).map(value).collect::<Vec<f32>>());
    }
    let valid = made["arrows"].valid();
    assert_eq!(valid[0].sample(number), labels.iter().map(|label| *label > 0).collect::<Vec<bool>>());
    assert_coarser(flow, number);
    assert_coarser(valid, number);
    let Levels::Class(classes) = &made["parity"].levels else { panic!("a class") };
    (classes.data[number], made["maybe"].presence[number])
}

#[test]
fn every_kind_is_made_through_both_doors_in_2d_and_3d() {
    let (folder, doors) = (artifact::folder(), artifact::folder());
    let rust = artifact::fixture("all-kinds");
    let c = artifact::without_rust_door(&rust, doors.path());
    for dims in [2, 3] {
        let [rust, c] = [&rust, &c].map(|plugin| {
            let transform = transform_of(plugin, dims, json!({})).expect("made");
            Makers(vec![None, Some(Arc::new(transform))])
        });
        let source = source(folder.path());
        // Wider than the image, so that something is beyond it.
        let patch = if dims == 2 { [1, 32, 16] } else { [32, 16, 16] };
        let stride = if dims == 2 { [1, 2, 2] } else { [2; 3] };
        let augmentation = Augmentation::named("default", patch, dims).expect("known");
        let options = LoaderOptions { patch, levels: LoaderOptions::level_shapes(patch, &[stride]), augmentation, ..options(2) };
        let made = batches_of(&source, &rust, options.clone(), 0);
        assert!(made == batches_of(&source, &c, options.clone(), 0), "flags of a C plugin are true or false, whatever their number");
        assert!(made[5..] == batches_of(&source, &c, options, 5)[..7], "a run that is resumed draws the same");
        let (mut classes, mut presences, mut beyond) = ([0; 2], [0; 2], 0);
        for (batch, made) in made {
            let [none, made] = &made[..] else { panic!("two arms") };
            assert!(none.is_empty());
            for number in 0..2 {
                if batch.cases[number] == "without" {
                    assert!(made.values().all(|target| !target.presence[number]));
                    continue;
                }
                let (class, present) = check_all_kinds(&batch, made, number);
                classes[class as usize] += 1;
                presences[usize::from(present)] += 1;
                let Levels::Labels(labels) = &made["moved"].levels else { panic!("labels") };
                beyond += labels[0].sample(number).iter().filter(|label| **label == 3).count();
            }
        }
        assert!(classes.iter().chain(&presences).all(|count| *count > 0) && beyond > 1000, "{classes:?} {presences:?} {beyond}");
    }
}

#[test]
fn all_kinds_are_trained_and_predicted() {
    let plugin = artifact::fixture("all-kinds");
    let outputs = ["segmentation", "moved", "parts", "arrows", "parity", "maybe"];
    for (configuration, patch) in [("3d_fullres", "16,16,16"), ("2d", "16,16")] {
        let bench = Bench::new();
        bench.train(&plugin, &["--configuration", configuration, "--patch-size", patch, "--epochs", "2"]).expect_success();
        let record = bench.records().pop().expect("two epochs");
        for output in outputs {
            assert!(record["train"][output]["value"].as_f64().is_some_and(f64::is_finite), "{configuration} {output}: {record}");
        }
        let validation = bench.fold().join("validation");
        assert!(outputs[1..].iter().all(|output| files(&validation.join(output)).len() > 1), "{:?}", files(&validation));
    }
}

/// What becomes of one sample with these labels.
fn apply(transform: &LoadedTransform, labels: Option<&[i16]>) -> Result<f32, String> {
    let (inside, mut values, mut valid) = ([true; 8], [7.0; 8], [false; 8]);
    let targets = labels.map(|labels| TargetPatch { name: SEGMENTATION, values: Values::Labels(labels), valid: &inside });
    let sample = Sample {
        case: "c",
        seed: 0,
        phase: plugin_api::Phase::Train,
        size: [2; 3],
        spacing: [1.0; 3],
        image: &[0.0; 8],
        inside: &inside,
        targets: targets.into_iter().collect(),
    };
    let mut made = [MadeTarget { name: "twice", values: ValuesMut::Regression(&mut values), valid: &mut valid, present: false }];
    transform.apply(&sample, &mut made).map_err(|error| error.to_string())?;
    assert!(made[0].present == labels.is_some());
    Ok(values[1])
}

#[test]
fn what_a_plugin_makes_wrong_is_an_error_that_names_it() {
    let fault = |name: &str| transform("faulty", json!({ "fault": name }));
    let (some, none) = ([0, 2, 1, 0, 0, 0, 0, 0], [0; 8]);
    let good = fault("none").expect("made");
    assert_eq!((apply(&good, Some(&some)), apply(&good, None)), (Ok(4.0), Ok(0.0)));

    let refused = |result: Result<f32, String>, words: &[&str]| {
        let message = result.expect_err("must be refused");
        println!("{message}");
        words.iter().for_each(|word| assert!(message.contains(word), "no {word:?} in: {message}"));
    };
    let infinite = fault("infinite_target").expect("made");
    assert_eq!(apply(&infinite, Some(&some)), Ok(4.0));
    refused(apply(&infinite, Some(&none)), &["plugin faulty 1.0.0", "apply made NaN or infinity where target 'twice' is valid"]);
    let absent = fault("undeclared_absence").expect("made");
    refused(apply(&absent, None), &["says that a case lacks target 'twice', but did not declare it optional"]);
    let panics = fault("unwraps_sample").expect("made");
    refused(apply(&panics, None), &["panicked at", "it was taken for granted"]);
    refused(fault("takes_a_name").map(|_| 0.0), &["new declares a target 'segmentation'", "the data set has already"]);
    refused(
        fault("names_no_class").map(|_| 0.0),
        &["new declares a target 'twice' of kind Labels with 3 channels", "expected 2 different names"],
    );
    refused(transform("heatmap", json!({ "sigma": -1 })).map(|_| 0.0), &["new failed: sigma is -1; expected mm above 0"]);

    refused(apply(&panics, Some(&some)), &["panicked at", "it was taken for granted, and cannot run any more"]);

    let folder = artifact::folder();
    let makers = Arc::new(Makers(vec![Some(Arc::new(fault("unwraps_sample").expect("made")))]));
    let mut loader = Loader::with_stage(Arc::new(source(folder.path())), options(2), makers, 100, (0, 0)).expect("started");
    let error = (0..100).find_map(|_| loader.next_batch().err()).expect("a case without labels is drawn").to_string();
    // Which case depends on which thread is first.
    assert!(error.starts_with("case with") && error.contains("plugin faulty 1.0.0: target transform: apply"), "{error}");
    assert!(error.contains("panicked at") && error.contains("it was taken for granted"), "{error}");
}

#[test]
fn an_arm_whose_targets_cannot_be_made_is_named() {
    let bench = Bench::new();
    bench.plan_tiny();
    let arms = ["a", "b"].map(|name| format!("{name}={}", artifact::fixture("faulty").display()));
    let arguments = ["--arm", &arms[0], "--arm", &arms[1], "--set", "b.fault=panics_on_sample", "--configuration", "tiny", "--epochs", "1"];
    // The loaders of training and validation share the transform: whichever is first panics, the other one repeats it.
    let words = ["arm b: case case_", "plugin faulty 1.0.0: target transform: apply", "panicked at", "as asked for"];
    bench.train_arms(&arguments).expect_failure(&words);
}

/// Files below `folder`, by name.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").file_name());
    let mut names: Vec<String> = entries.map(|name| name.into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

#[test]
fn it_is_trained_measured_and_predicted() {
    let plugin = artifact::fixture("heatmap");
    let bench = Bench::new();
    bench.train(&plugin, &["--epochs", "2"]).expect_success();
    let record = bench.records().pop().expect("two epochs");
    assert!(record["train"]["heatmap"]["value"].as_f64().is_some_and(|value| value > 0.0), "{record}");
    assert!(record["metrics"]["heatmap"]["mae"].as_f64().is_some_and(|value| value > 0.0), "{record}");
    let log = fs::read_to_string(bench.fold().join("log.txt")).expect("a log");
    assert!(log.contains("not measured: the plugin makes its target 'heatmap'"), "{log}");
    let validation = bench.fold().join("validation");
    assert!(files(&validation.join("heatmap")).iter().any(|name| name.ends_with(".nii")), "{:?}", files(&validation));

    let (model, images) = (bench.fold().parent().expect("a model").to_owned(), bench.raw.folder.join("imagesTr"));
    let [model, images, plugin] = [&model, &images, &plugin].map(|path: &PathBuf| path.to_str().expect("UTF-8"));
    let predict = ["predict", "--model", model, "--input", images, "--output", "out", "--plugin", plugin, "--tta", "off"];
    bench.run(&[&predict[..], &["--device", "cpu", "--threads", "1"]].concat()).expect_success();
    let predicted = bench.folder().join("out/heatmap");
    assert_eq!(files(&predicted).len(), files(Path::new(images)).len(), "{:?}", files(&predicted));
}

#[test]
fn arms_learn_from_targets_of_their_own() {
    let heatmap = artifact::fixture("heatmap");
    let arms = ["a", "b"].map(|name| format!("{name}={}", heatmap.display()));
    let tiny = ["--configuration", "tiny", "--epochs", "1", "--iterations", "4"];
    let record = |bench: &Bench, name: &str| -> Value {
        let path = bench.results().join(format!("Dataset001_Small/heatmap-{name}__nnUNetPlans__tiny/fold_0/metrics.jsonl"));
        let text = fs::read_to_string(path).expect("recorded");
        let record: Value = serde_json::from_str(&text).expect("one epoch");
        json!([record["train"], record["validation"], record["metrics"]])
    };
    let together = Bench::new();
    together.plan_tiny();
    let base = format!("c={}", artifact::plugin("base").display());
    let arguments = ["--arm", &arms[0], "--arm", &arms[1], "--arm", &base, "--set", "b.sigma=12"];
    together.train_arms(&[&tiny[..], &arguments].concat()).expect_success();
    let alone = Bench::new();
    alone.plan_tiny();
    alone.train(&heatmap, &[&tiny[..], &["--name", "b", "--set", "sigma=12"]].concat()).expect_success();
    assert_eq!(record(&together, "b"), record(&alone, "b"));
    assert_ne!(record(&together, "a")[0]["heatmap"], record(&together, "b")[0]["heatmap"]);
}
