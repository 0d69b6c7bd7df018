//! `host model export --format nnunet`: folder and checkpoints have the form of nnU-Net's own, and stock nnU-Net predicts with them what we do.

use data::pth::{Pth, Value};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem::discriminant;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::artifact;
use tests::models::{Agreement, GoldenModel, compare, folder};
use tests::peer;
use tests::program::Bench;
use tests::pth::{describe, globals};

/// What make_models.py adds to a model's folder.
const ADDED: [&str; 3] = ["images", "preprocessed", "predictions"];
/// What `torch.load(weights_only=True)` allows, and every state dict needs.
const GLOBALS: [&str; 3] = ["collections.OrderedDict", "torch.FloatStorage", "torch._utils._rebuild_tensor_v2"];

/// `model` in nnU-Net's format, in the new folder `name`.
fn export(bench: &Bench, model: &Path, name: &str) -> PathBuf {
    let output = bench.folder().join(name);
    let [from, to] = [model, &output].map(|path| path.to_str().expect("UTF-8"));
    bench.run(&["model", "export", "--model", from, "--format", "nnunet", "--output", to]).expect_success();
    output
}

/// All files below `folder`, relative to it.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        let name = PathBuf::from(path.file_name().expect("an entry"));
        if path.is_dir() { found.extend(files(&path).into_iter().map(|file| name.join(file))) } else { _ = found.insert(name) }
    }
    found
}

/// The value of `key`.
fn at<'a>(value: &'a Value, key: &str) -> &'a Value {
    value.get(key).unwrap_or_else(|| panic!("no {key}"))
}

fn json_of(path: &Path) -> Json {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).expect("JSON")
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.entries().expect("a dictionary").iter().map(|(key, _)| key.as_str().expect("text as a key")).collect()
}

fn json_keys(value: &Json) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// Type, shape and checksum of every tensor of the network, by its name.
fn tensors(pth: &Pth) -> BTreeMap<&str, Json> {
    let state = at(pth.root(), "network_weights").entries().expect("a state dict");
    state.iter().map(|(name, tensor)| (name.as_str().expect("a name"), describe(pth, tensor).expect("readable"))).collect()
}

/// Names that stand for the same numbers.
fn shared(pth: &Pth) -> BTreeSet<BTreeSet<&str>> {
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, tensor) in at(pth.root(), "network_weights").entries().expect("a state dict") {
        let Value::Tensor(tensor) = tensor else { panic!("{name:?} is no tensor") };
        names.entry(&tensor.storage).or_default().insert(name.as_str().expect("a name"));
    }
    names.into_values().collect()
}

/// Asserts that the checkpoint `ours` has the keys and types of nnU-Net's `theirs`, and that its pickle asks for no more than tensors need.
fn expect_form(ours: &Path, theirs: &Path) {
    let asked = globals(&fs::read(ours).expect("there"));
    assert_eq!(asked, GLOBALS.map(str::to_owned).into(), "{}", ours.display());
    assert!(asked.is_subset(&globals(&fs::read(theirs).expect("there"))), "nnU-Net's own checkpoints ask for them, too");

    let [ours, theirs] = [ours, theirs].map(|path| Pth::open(path).expect("a file of torch.save"));
    let (ours, theirs) = (ours.root(), theirs.root());
    assert_eq!(keys(ours), keys(theirs));
    assert_eq!(keys(at(ours, "init_args")), keys(at(theirs, "init_args")));
    // The best moving average of Dice is a number there, and none before the first epoch, as in ours.
    for key in keys(theirs).into_iter().filter(|key| *key != "_best_ema") {
        let (ours, theirs) = (at(ours, key), at(theirs, key));
        assert_eq!(discriminant(ours), discriminant(theirs), "{key}: {ours:?} in place of {theirs:?}");
    }
}

#[test]
fn models_of_nnunet_are_exported_as_nnunet_wrote_them() {
    let bench = Bench::new();
    for name in GoldenModel::all().into_keys() {
        let (golden, exported) = (folder().join(&name), export(&bench, &folder().join(&name), &name));
        let mut expected = files(&golden);
        expected.retain(|file| !ADDED.iter().any(|added| file.starts_with(added)));
        assert_eq!(files(&exported), expected, "{name}");
        for file in expected {
            let [ours, theirs] = [&exported, &golden].map(|folder| folder.join(&file));
            if file.extension().is_some_and(|ending| ending == "json") {
                assert_eq!(json_of(&ours), json_of(&theirs), "{name}: {}", file.display());
                continue;
            }
            expect_form(&ours, &theirs);
            let [ours, theirs] = [&ours, &theirs].map(|path| Pth::open(path).expect("a file of torch.save"));
            assert_eq!(tensors(&ours), tensors(&theirs), "{name}: {}", file.display());
            assert_eq!(shared(&ours), shared(&theirs), "{name}: {}", file.display());
            for key in ["init_args", "inference_allowed_mirroring_axes"] {
                let [ours, theirs] = [&ours, &theirs].map(|pth| describe(pth, at(pth.root(), key)).expect("plain data"));
                assert_eq!(ours, theirs, "{name}: {key} of {}", file.display());
            }
        }
    }
}

#[test]
fn a_model_of_ours_is_exported_in_nnunets_form() {
    let bench = Bench::new();
    bench.train(&artifact::plugin("base"), &["--ema", "0.5"]).expect_success();
    let exported = export(&bench, bench.fold().parent().expect("a model"), "exported");
    let golden = folder().join("plain_3d");
    let checkpoint = Path::new("fold_0/checkpoint_final.pth");
    let descriptions = ["dataset.json", "dataset_fingerprint.json", "plans.json"];
    assert_eq!(files(&exported), descriptions.iter().map(Path::new).chain([checkpoint]).map(Path::to_owned).collect());
    expect_form(&exported.join(checkpoint), &golden.join(checkpoint));

    let pth = Pth::open(&exported.join(checkpoint)).expect("a file of torch.save");
    let float = |tensor: &Json| tensor["tensor"][0] == "float32";
    assert!(tensors(&pth).values().all(float), "{:?}", tensors(&pth));
    // A convolution of the encoder has four names there, one of the decoder two.
    for (tensor, names) in [("encoder.stages.0.0.convs.0.conv.weight", 4), ("decoder.stages.0.convs.0.conv.weight", 2)] {
        assert!(shared(&pth).iter().any(|shared| shared.contains(tensor) && shared.len() == names), "{tensor}: {:?}", shared(&pth));
    }
    assert_eq!(at(pth.root(), "trainer_name").as_str(), Some("nnUNetTrainer"));

    // What stock nnU-Net reads of the plans is there, for what was trained.
    let [ours, theirs] = [&exported, &golden].map(|folder| json_of(&folder.join("plans.json")));
    let expect_keys = |place: &str, ours: &Json, theirs: &Json| {
        assert!(json_keys(ours).is_superset(&json_keys(theirs)), "{place}: {ours} has not all keys of {theirs}");
    };
    expect_keys("plans.json", &ours, &theirs);
    for part in ["", "/architecture", "/architecture/arch_kwargs", "/resampling_fn_data_kwargs", "/resampling_fn_probabilities_kwargs"] {
        let place = format!("/configurations/3d_fullres{part}");
        expect_keys(
            &place,
            ours.pointer(&place).unwrap_or_else(|| panic!("no {place}")),
            theirs.pointer(&place).expect("nnU-Net writes it"),
        );
    }
    assert_eq!(ours["configurations"]["3d_fullres"]["patch_size"], json!([16, 16, 16]), "nnU-Net predicts with the patch of the plans");
    assert_eq!(describe(&pth, at(at(pth.root(), "init_args"), "configuration")).expect("text"), "3d_fullres");
    let [ours, theirs] = [&exported, &golden].map(|folder| json_of(&folder.join("dataset.json")));
    expect_keys("dataset.json", &ours, &theirs);
}

#[test]
#[ignore = "needs nnU-Net: ../shared/peer/setup.sh, then cargo test -p tests --test models -- --ignored"]
fn stock_nnunet_predicts_the_same_with_an_exported_model() {
    let program = peer::program("nnUNetv2_predict_from_modelfolder");
    for [configuration, patch] in [["3d_fullres", "16,16,16"], ["2d", "16,16"]] {
        let bench = Bench::new();
        let arguments = ["--configuration", configuration, "--patch-size", patch, "--iterations", "60"];
        bench.train(&artifact::plugin("base"), &arguments).expect_success();
        let model = bench.fold().parent().expect("a model").to_owned();
        let exported = export(&bench, &model, "exported");
        let [images, ours, theirs] = [bench.raw.folder.join("imagesTr"), bench.folder().join("ours"), bench.folder().join("theirs")];

        let mut stock = Command::new(&program);
        stock.arg("-i").arg(&images).arg("-o").arg(&theirs).arg("-m").arg(&exported);
        stock.args(["-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1", "--disable_progress_bar"]);
        let ended = bench.finish(stock);
        assert_eq!(ended.code, 0, "{ended:#?}");
        let mut host = bench.host();
        host.arg("predict").arg("--input").arg(&images).arg("--output").arg(&ours).arg("--model").arg(&model);
        host.args(["--device", "cpu", "--threads", "1", "--nnunet-exact"]);
        bench.finish(host).expect_success();

        let cases = (0..tests::case::CASES).map(|case| theirs.join(format!("case_{case:03}.nii")));
        let Agreement { differ, voxels, dice } = compare(&ours, &cases.collect::<Vec<_>>());
        println!("{configuration}: {differ} of {voxels} voxels differ, the mean Dice is {dice}");
        assert!(differ as f64 <= 1e-4 * voxels as f64, "{configuration}: {differ} of {voxels} voxels differ");
    }
}

#[test]
#[ignore = "needs nnU-Net: ../shared/peer/setup.sh, then cargo test -p tests --test models -- --ignored"]
fn stock_nnunet_ensembles_our_probabilities() {
    let program = peer::program("nnUNetv2_ensemble");
    let bench = Bench::new();
    bench.train(&artifact::plugin("base"), &["--iterations", "40", "--no-validation"]).expect_success();
    let model = bench.fold().parent().expect("a model").to_owned();
    let [images, ours, theirs] = [bench.raw.folder.join("imagesTr"), bench.folder().join("ours"), bench.folder().join("theirs")];
    let mut host = bench.host();
    host.arg("predict").arg("--input").arg(&images).arg("--output").arg(&ours).arg("--model").arg(&model);
    host.args(["--device", "cpu", "--threads", "1", "--precision", "fp32", "--save-probabilities"]);
    bench.finish(host).expect_success();
    let mut stock = Command::new(&program);
    // The mean of a prediction and itself.
    stock.arg("-i").arg(&ours).arg(&ours).arg("-o").arg(&theirs).args(["-np", "1"]);
    let ended = bench.finish(stock);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let cases = (0..tests::case::CASES).map(|case| theirs.join(format!("case_{case:03}.nii")));
    let Agreement { differ, voxels, .. } = compare(&ours, &cases.collect::<Vec<_>>());
    // Probabilities are compared in place of logits.
    assert!(differ as f64 <= 1e-3 * voxels as f64, "{differ} of {voxels} voxels differ");
    let header = |folder: &Path| imaging::io::read_labels(&folder.join("case_000.nii")).expect("written").geometry;
    assert_eq!(header(&ours).differs_from(&header(&theirs)), None);
}
