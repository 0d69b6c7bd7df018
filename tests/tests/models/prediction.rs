//! `host predict`: nnU-Net's models give nnU-Net's predictions, ours go to nnU-Net's format and back, outputs of every kind are written, and
//! mirror images of vectors are put back.

use host::artifact::{ModelFolder, TrainedModel};
use host::network::Precision;
use host::plugin;
use host::predict::{Fold, Window, sliding_window};
use imaging::io::{read_image, read_labels};
use imaging::{Volume, VolumeView};
use plugin_api::task::Target;
use plugin_api::{IndexMap, Kind, Task};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::{fs, io};
use tests::artifact;
use tests::case::RawData;
use tests::golden::Golden;
use tests::models::{Agreement, GoldenModel, compare, folder, read_npz};
use tests::network::Network;
use tests::picture::expect_drawn;
use tests::program::{Bench, Ended};

fn predict(bench: &Bench, model: &Path, input: &Path, output: &Path, further: &[&str]) -> Ended {
    let [model, input, output] = [model, input, output].map(|path| path.to_str().expect("UTF-8"));
    let arguments = ["predict", "--model", model, "--input", input, "--output", output, "--device", "cpu", "--threads", "1"];
    bench.run(&[&arguments, further].concat())
}

/// Some folds of a model, with libtorch's single precision.
fn load(model: &ModelFolder, folds: &[usize]) -> TrainedModel {
    let folds: Vec<_> = folds.iter().map(|fold| data::dataset::splits::Fold::Number(*fold)).collect();
    let checkpoints: Vec<_> = model.checkpoints(&folds, "final").expect("there").into_iter().map(|(_, path)| path).collect();
    let base = artifact::plugin("base");
    model.load(&checkpoints, (base.to_str(), &artifact::this_host()), tch::Device::Cpu, Precision::Fp32).expect("loads")
}

#[test]
fn models_of_nnunet_predict_what_they_predict_there() {
    let bench = Bench::new();
    let (mut differ, mut voxels) = (0, 0);
    for (name, model) in GoldenModel::all() {
        let path = folder().join(&name);
        for (number, golden) in model.predictions.iter().enumerate() {
            let arguments = golden.arguments();
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let theirs: Vec<PathBuf> = golden.labels.values().map(|path| folder().join(path)).collect();

            let output = bench.folder().join(format!("{name}_{number}"));
            let exact = [&arguments[..], &["--nnunet-exact", "--save-probabilities"]].concat();
            predict(&bench, &path, &path.join("images"), &output, &exact).expect_success();
            let found = compare(&output, &theirs);
            (differ, voxels) = (differ + found.differ, voxels + found.voxels);
            for (case, file) in &golden.probabilities {
                let (shape, theirs) = read_npz(&folder().join(file), "probabilities");
                let (ours_shape, ours) = read_npz(&output.join(format!("{case}.npz")), "probabilities");
                let off = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                // Sums in float16: one unit in the last place of a logit of 8 is 0.008.
                assert!(ours_shape == shape && off < 0.01, "{name} {case}: probabilities are off by {off}");
            }

            let output = bench.folder().join(format!("{name}_{number}_fp32"));
            predict(&bench, &path, &path.join("images"), &output, &[&arguments[..], &["--precision", "fp32"]].concat()).expect_success();
            let Agreement { dice, .. } = compare(&output, &theirs);
            assert!(dice >= 0.999, "{name} {arguments:?}: the mean Dice with nnU-Net's is {dice}");
        }
    }
    println!("{differ} of {voxels} voxels differ");
    assert!(voxels > 100_000 && differ as f64 <= 1e-4 * voxels as f64, "{differ} of {voxels} voxels differ");
}

/// Labels of nnU-Net's models are the same from the CPU engine and from libtorch's single precision, but where its two largest logits are equal.
#[test]
fn the_cpu_engine_predicts_what_libtorch_predicts() {
    use data::preprocess::preprocess_image;
    let (mut differ, mut voxels) = (0, 0);
    for (name, golden) in GoldenModel::all() {
        let model_folder = ModelFolder::open(&folder().join(&name)).expect("a model");
        let Some(prediction) = golden.predictions.first() else { continue };
        let model = load(&model_folder, &prediction.folds);
        let dims = model.configuration.dims();
        let window = Window { dims, patch: model.patch, step: 0.5, mirror: model.mirror.clone(), vectors: Vec::new(), half: false };
        for case in golden.preprocessed.keys() {
            let channels = model_folder.description.channel_names.len();
            let images: Vec<_> = (0..channels).map(|c| folder().join(&name).join(format!("images/{case}_{c:04}.nii.gz"))).collect();
            let (image, ..) = preprocess_image(&images, &model_folder.plans, &model.configuration).expect("preprocessed");
            let torch: Vec<Fold> = model.folds.iter().map(Fold::new).collect();
            let native = Fold::on_engine(&model.folds.iter().collect::<Vec<_>>(), &window).expect("served");
            let [torch, native] = [torch, native]
                .map(|folds| sliding_window(&folds, image.view(), &window).expect("runs").swap_remove("segmentation").expect("there"));
            let probabilities = |logits: &tch::Tensor| logits.softmax(0, tch::Kind::Float);
            let off = (probabilities(&torch) - probabilities(&native)).abs().max().double_value(&[]);
            assert!(off < 1e-4, "{name} {case}: probabilities are off by {off:e}");
            let other = torch.argmax(0, false).not_equal_tensor(&native.argmax(0, false));
            let (largest, _) = torch.topk(2, 0, true, true);
            let margin = largest.select(0, 0) - largest.select(0, 1);
            let widest = margin.where_self(&other, &tch::Tensor::zeros([1], (tch::Kind::Float, tch::Device::Cpu))).max().double_value(&[]);
            assert!(widest < 1e-3, "{name} {case}: labels differ where libtorch's two largest logits are {widest:e} apart");
            differ += other.sum(tch::Kind::Int64).int64_value(&[]);
            voxels += other.numel();
            println!("{name} {case}: probabilities off by {off:.1e}");
        }
    }
    println!("{differ} of {voxels} labels differ");
    assert!(voxels > 10_000 && differ as f64 <= 1e-5 * voxels as f64, "{differ} of {voxels} labels differ");
}

/// `--engine` says what computes, `prediction.json` what did; what does not go together is refused with the reason.
#[test]
fn the_engine_is_chosen_and_told() {
    let bench = Bench::new();
    let model = folder().join("plain_3d");
    let run = |name: &str, further: &[&str]| predict(&bench, &model, &model.join("images"), &bench.folder().join(name), further);
    let told = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(bench.folder().join(name).join("prediction.json")).expect("written")).expect("JSON")
    };
    run("torch", &["--engine", "torch", "--precision", "fp32"]).expect_success();
    assert_eq!(told("torch")["engine"], "torch");
    run("exact", &["--nnunet-exact"]).expect_success();
    assert_eq!((&told("exact")["engine"], &told("exact")["precision"]), (&json!("torch"), &json!("fp32")));
    let refused = run("bf16", &["--engine", "native", "--precision", "bf16"]);
    assert!(refused.code != 0 && refused.stderr.contains("but the precision is bf16"), "{refused:#?}");
    let refused = run("nnunet", &["--engine", "native", "--nnunet-exact"]);
    assert!(refused.code != 0 && refused.stderr.contains("--nnunet-exact is libtorch's arithmetic"), "{refused:#?}");
    let native = run("native", &["--engine", "native"]);
    if host::network::Processor::this().runs_native {
        native.expect_success();
        assert_eq!((&told("native")["engine"], &told("native")["precision"]), (&json!("native"), &json!("fp32")));
        let theirs: Vec<PathBuf> =
            fs::read_dir(bench.folder().join("torch")).expect("written").map(|entry| entry.expect("readable").path()).collect();
        let theirs: Vec<PathBuf> = theirs.into_iter().filter(|path| path.to_string_lossy().ends_with(".nii.gz")).collect();
        assert_eq!(compare(&bench.folder().join("native"), &theirs).differ, 0);
    } else {
        assert!(native.stderr.contains("lacks AVX2"), "{native:#?}");
    }
}

#[test]
fn images_become_the_logits_that_they_become_there() {
    use data::preprocess::preprocess_image;
    for (name, golden) in GoldenModel::all() {
        let model_folder = ModelFolder::open(&folder().join(&name)).expect("a model");
        for prediction in &golden.predictions {
            let model = load(&model_folder, &prediction.folds);
            let mirror: &[usize] = if prediction.mirroring { &model.mirror } else { &[] };
            for (case, file) in &prediction.logits {
                let channels = model_folder.description.channel_names.len();
                let images: Vec<_> = (0..channels).map(|c| folder().join(&name).join(format!("images/{case}_{c:04}.nii.gz"))).collect();
                let (image, ..) = preprocess_image(&images, &model_folder.plans, &model.configuration).expect("preprocessed");
                let (shape, theirs) = read_npz(&folder().join(&golden.preprocessed[case]), "data");
                assert_eq!(image.shape().to_vec(), shape, "{name} {case}");
                let off = image.data().iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off < 1e-4, "{name} {case}: the preprocessed image is off by {off}");

                let dims = model.configuration.dims();
                let window = Window { dims, patch: model.patch, step: 0.5, mirror: mirror.to_vec(), vectors: Vec::new(), half: true };
                let folds: Vec<Fold> = model.folds.iter().map(Fold::new).collect();
                let logits = sliding_window(&folds, image.view(), &window).expect("runs");
                let (_, theirs) = read_npz(&folder().join(file), "logits");
                let ours = Vec::<f32>::try_from(logits["segmentation"].to_kind(tch::Kind::Float).view(-1)).expect("one dimension");
                let mut off: Vec<f32> = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).collect();
                assert_eq!(off.len(), theirs.len());
                off.sort_by(f32::total_cmp);
                // At the corners weights are down to 6e-8, and what float16 makes of a logit then may be off by a half.
                let most = off[off.len() * 99 / 100];
                assert!(most < 0.02, "{name} {case}: 99 % of the logits are off by up to {most}");
            }
        }
    }
}

#[test]
fn models_go_to_nnunets_format_and_to_ours_and_back() {
    let bench = Bench::new();
    bench.train(&artifact::plugin("base"), &["--iterations", "6", "--ema", "0.5"]).expect_success();
    let ours = bench.fold().parent().expect("a folder").to_owned();
    let images = bench.raw.folder.join("imagesTr");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let at = |name: &str| bench.folder().join(name);
    let export = |from: &Path, format: &str, to: &Path| {
        bench.run(&["model", "export", "--model", &text(from), "--format", format, "--output", &text(to)]).expect_success()
    };
    export(&ours, "nnunet", &at("nnunet"));
    export(&ours, "safetensors", &at("weights"));
    let imported = bench.run(&["model", "import", &text(&at("nnunet")), "--output", &text(&at("imported"))]).expect_success();
    let imported_folder = at("imported").join("Dataset001_Small/base__nnUNetPlans__3d_fullres");
    assert!(imported.stdout.contains("base__nnUNetPlans__3d_fullres: 1 folds"), "{imported:#?}");
    assert!(!at("weights/fold_0/checkpoint_final.pth").exists() && at("weights/plugin.json").is_file());
    let size = |folder: &Path| fs::metadata(folder.join("fold_0/checkpoint_final.safetensors")).expect("there").len();
    assert!(size(&at("weights")) < size(&ours) / 2, "the optimiser's state is left out");

    let maps = |model: &Path, name: &str| {
        predict(&bench, model, &images, &at(name), &["--precision", "fp32", "--tta", "off"]).expect_success();
        (0..tests::case::CASES).map(|i| fs::read(at(name).join(format!("case_{i:03}.nii"))).expect("predicted")).collect::<Vec<_>>()
    };
    let expected = maps(&ours, "a");
    assert!(expected[0].iter().skip(352).any(|byte| *byte != 0), "something is predicted");
    for (model, name) in [(at("nnunet"), "b"), (at("weights"), "c"), (imported_folder.clone(), "d")] {
        assert!(maps(&model, name) == expected, "{} predicts otherwise", model.display());
    }

    // Another training begins with them: as if they had been its own.
    let pretrained = |from: &Path, name: &str| {
        let from = text(from);
        let arguments = ["--pretrained", &from, "--pretrained-heads", "--name", name, "--learning-rate", "1e-30", "--schedule", "constant"];
        bench.train(&artifact::plugin("base"), &arguments).expect_success();
        let path = bench.results().join(format!("Dataset001_Small/base-{name}__nnUNetPlans__3d_fullres/fold_0"));
        let log = fs::read_to_string(path.join("log.txt")).expect("there");
        assert!(log.contains("Begins with") && log.contains("plugin.segmentation.seg_layers") && !log.contains("skipped"), "{log}");
        tests::program::tensors_of(&path.join("checkpoint_final.safetensors"))
    };
    let weights = tests::program::tensors_of(&at("weights/fold_0/checkpoint_final.safetensors"));
    for (from, name) in [(at("nnunet/fold_0/checkpoint_final.pth"), "first"), (at("weights"), "second")] {
        let begun = pretrained(&from, name);
        assert!(weights.iter().all(|(tensor, bytes)| begun[tensor] == *bytes), "{name}");
    }

    // What is there is not replaced, and what does not fit is refused.
    let again = bench.run(&["model", "export", "--model", &text(&ours), "--format", "nnunet", "--output", &text(&at("nnunet"))]);
    again.expect_refusal(&["is there already"]);
    let options = r#"{"outputs": {"segmentation": {}, "second": {"target": "segmentation"}}}"#;
    fs::write(at("options.json"), options).expect("writable");
    let options = text(&at("options.json"));
    bench.train(&artifact::plugin("multi-output"), &["--options", &options]).expect_success();
    let two = bench.results().join("Dataset001_Small/multi-output__nnUNetPlans__3d_fullres");
    let refused = bench.run(&["model", "export", "--model", &text(&two), "--format", "nnunet", "--output", &text(&at("no"))]);
    refused.expect_refusal(&["plugin.second", "nnU-Net has no such layer", "--format safetensors"]);
    assert!(!at("no").exists());
    let wide = ["--pretrained", &text(&folder().join("residual_3d")), "--name", "wide"].map(str::to_owned);
    let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
    bench.train(&artifact::plugin("base"), &wide).expect_refusal(&["no tensor of its trunk fits"]);
    assert_eq!(bench.half_written(), Vec::<PathBuf>::new());
}

/// The data set of `host demo` with `cases` for training, and the one that it is not trained on.
fn demo(parent: &Path, cases: usize) -> RawData {
    let folder = parent.join("Dataset999_Demo");
    data::demo::write_dataset(&folder, 1).expect("writable");
    let ids = |folder: &Path| -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("readable").file_name().into_string().expect("UTF-8");
        let mut ids: Vec<String> = fs::read_dir(folder).expect("there").map(name).collect();
        ids.sort();
        ids
    };
    for files in ["imagesTr", "labelsTr", "targetsTr/distance"].map(|name| folder.join(name)) {
        ids(&files)[cases..].iter().for_each(|id| fs::remove_file(files.join(id)).expect("writable"));
    }
    let path = folder.join("dataset.json");
    let mut description: Value = serde_json::from_slice(&fs::read(&path).expect("there")).expect("JSON");
    description["numTraining"] = json!(cases);
    fs::write(&path, description.to_string()).expect("writable");
    RawData { folder }
}

#[test]
fn outputs_of_every_kind_are_written_and_cases_chosen() {
    const CASES: usize = 5;
    let mut bench = Bench::new();
    bench.raw = demo(&bench.folder().join("raw"), CASES);
    let options = bench.folder().join("options.json");
    let outputs = json!({"organs": {"target": "segmentation"}, "distance": {}, "volume_class": {}});
    fs::write(&options, json!({"outputs": outputs}).to_string()).expect("writable");
    let further = ["--options", options.to_str().expect("UTF-8"), "--patch-size", "32,32,32"];
    bench.train(&artifact::plugin("multi-output"), &further).expect_success();

    let model = bench.results().join("Dataset999_Demo/multi-output__nnUNetPlans__3d_fullres");
    let (output, preview) = (bench.folder().join("predicted"), bench.folder().join("preview.png"));
    let (images, unseen) = (bench.raw.folder.join("imagesTr"), bench.raw.folder.join("imagesTs"));
    let predict = |images: &Path, output: &Path, further: &[&str]| {
        predict(&bench, &model, images, output, &[&["--precision", "fp32", "--step", "1"], further].concat())
    };
    let all = ["--save-probabilities", "--preview", preview.to_str().expect("UTF-8"), "--largest-component"];
    predict(&unseen, &output, &all).expect_success();
    let name = data::demo::unseen_case();
    let image = read_image(&unseen.join(format!("{name}_0000.nii.gz"))).expect("there");
    let labels = read_labels(&output.join(format!("{name}.nii.gz"))).expect("a label map");
    let distance = read_image(&output.join(format!("distance/{name}.nii.gz"))).expect("a map");
    assert_eq!((labels.volume.spatial(), distance.volume.spatial()), (image.volume.spatial(), image.volume.spatial()));
    assert_eq!(labels.geometry.differs_from(&image.geometry), None);
    let scores: IndexMap<String, f64> =
        serde_json::from_str(&fs::read_to_string(output.join(format!("volume_class/{name}.json"))).expect("there")).expect("JSON");
    assert!((scores.values().sum::<f64>() - 1.0).abs() < 1e-6);
    let table = fs::read_to_string(output.join("volume_class/classes.csv")).expect("there");
    assert!(table.starts_with("case,class,") && table.lines().nth(1).is_some_and(|line| line.starts_with(&format!("{name},"))), "{table}");
    let (shape, probabilities) = read_npz(&output.join(format!("{name}.npz")), "probabilities");
    let pickle = fs::read(output.join(format!("{name}.pkl"))).expect("where the image lies, for nnUNetv2_ensemble");
    assert!(pickle.starts_with(b"\x80\x02") && pickle.ends_with(b"."), "a pickle of protocol 2");
    assert_eq!(shape[1..], image.volume.spatial());
    let sums = (0..probabilities.len() / shape[0])
        .map(|voxel| (0..shape[0]).map(|c| probabilities[c * probabilities.len() / shape[0] + voxel]).sum::<f32>());
    assert!(sums.into_iter().all(|sum| (sum - 1.0).abs() < 1e-4));
    let (width, height) = expect_drawn(&preview);
    assert!(width > height && height > 0, "{width}x{height}");
    assert!(output.join("dataset.json").is_file() && output.join("plans.json").is_file());

    // Two parts are the whole; what is there is left out.
    let parts = bench.folder().join("parts");
    let count = || fs::read_dir(&parts).expect("there").flatten().filter(|file| file.path().extension().is_some_and(|e| e == "gz")).count();
    predict(&images, &parts, &["--parts", "2/2", "--tta", "off"]).expect_success();
    assert_eq!(count(), CASES / 2);
    let rest = predict(&images, &parts, &["--continue", "--tta", "off"]).expect_success();
    assert!(rest.stdout.contains(&format!("{} cases in", CASES - CASES / 2)), "{rest:#?}");
    assert_eq!(count(), CASES);
    let unknown = predict(&images, &parts, &["--largest-component=lever"]);
    unknown.expect_failure(&["no label \"lever\"", "did you mean \"liver\"?"]);
}

#[test]
fn regions_are_written_apart_where_that_is_wanted() {
    let bench = Bench::new();
    let (model, output) = (folder().join("regions_3d"), bench.folder().join("predicted"));
    predict(&bench, &model, &model.join("images"), &output, &["--precision", "fp32", "--separate-regions"]).expect_success();
    let description: Value = serde_json::from_str(&fs::read_to_string(model.join("dataset.json")).expect("there")).expect("JSON");
    let map = read_labels(&output.join("tiles.nii.gz")).expect("there").volume;
    let regions = description["labels"].as_object().expect("labels").iter().filter(|(name, _)| *name != "background");
    let masks: Vec<Volume<i16>> =
        regions.map(|(name, _)| read_labels(&output.join(name).join("tiles.nii.gz")).expect("a mask").volume).collect();
    let painted =
        description["regions_class_order"].as_array().expect("an order").iter().map(|label| label.as_i64().expect("a label") as i16);
    let painted: Vec<i16> = painted.collect();
    for voxel in 0..map.data().len() {
        let last = (0..masks.len()).rev().find(|region| masks[*region].data()[voxel] == 1);
        assert_eq!(map.data()[voxel], last.map_or(0, |region| painted[region]));
    }
    assert!(masks.iter().all(|mask| mask.data().contains(&1)));
}

#[test]
fn a_field_of_vectors_is_put_back_exactly() {
    let network: Network = Golden::read("training_3d").metadata("training");
    let patch = [network.patch_size[0], network.patch_size[1], network.patch_size[2]];
    let targets = IndexMap::from([("flow".to_owned(), Target::new(Kind::Regression, 3))]);
    let trunk = host::network::trunk(&network.architecture).expect("there");
    let task = Task { batch_size: 1, ..host::network::task(&*trunk, &network.patch_size, &[1.0; 3], targets) };
    let library = plugin::load(&artifact::fixture("field"), &artifact::this_host()).expect("it loads");
    let (channels, device) = (network.input_channels, tch::Device::Cpu);
    let model = host::model::Model::new(&*trunk, channels, &library, &task, &json!({}), device, Precision::Fp32).expect("built");
    let image = vec![0.5; channels * patch.iter().product::<usize>()];
    let view = || VolumeView { shape: [channels, patch[0], patch[1], patch[2]], data: &image };
    let vectors = ["flow".to_owned()];
    let field = |mirror: &[usize]| {
        let window = Window { dims: 3, patch, step: 0.5, mirror: mirror.to_vec(), vectors: vectors.to_vec(), half: false };
        sliding_window(&[Fold::new(&model)], view(), &window).expect("runs").swap_remove("flow").expect("there")
    };
    let plain = field(&[]);
    assert!(plain.abs().max().double_value(&[]) > 3.0);
    // Weights of the Gaussian are multiplied and divided again, which rounds alike with and without mirror images.
    for mirror in [&[0][..], &[2], &[0, 1, 2]] {
        assert!(field(mirror).equal(&plain), "{mirror:?}");
    }
}
