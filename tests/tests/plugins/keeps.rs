//! What a plugin makes of logits is what is predicted; what it says that it keeps is compared with what the host would do.

use imaging::io::read_labels;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::artifact::{self, Api};
use tests::checkpoint::change_header;
use tests::models::read_npz;
use tests::program::{Bench, Ended, read_summary};

/// The fixture `activations` whose manifest says that it keeps these methods.
fn claiming(methods: &[&str]) -> (PathBuf, TempDir) {
    let folder = artifact::folder();
    let change = |manifest: &mut plugin_api::Manifest| manifest.keeps = methods.iter().map(|&method| method.to_owned()).collect();
    (artifact::with_manifest(&artifact::fixture("activations"), folder.path(), change), folder)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn model(bench: &Bench) -> PathBuf {
    bench.fold().parent().expect("a model").to_owned()
}

fn predict(bench: &Bench, plugin: &Path, output: &Path) -> Ended {
    let (model, images) = (model(bench), bench.raw.folder.join("imagesTr"));
    let arguments = ["--device", "cpu", "--threads", "1", "--precision", "fp32", "--save-probabilities"];
    let places = ["predict", "--model", text(&model), "--input", text(&images), "--output", text(output), "--plugin", text(plugin)];
    bench.run(&[&places[..], &arguments].concat())
}

fn export(bench: &Bench, further: &[&str]) -> Ended {
    let output = bench.folder().join("exported");
    _ = fs::remove_dir_all(&output);
    bench.run(&[&["model", "export", "--model", text(&model(bench)), "--format", "nnunet", "--output", text(&output)], further].concat())
}

#[test]
fn what_a_plugin_makes_of_logits_is_predicted() {
    let folder = artifact::folder();
    let rust = artifact::fixture("activations");
    let c = artifact::without_rust_door(&rust, folder.path());
    // Of the probabilities of a voxel, what softmax would not do.
    let rejected = |p: &[f32]| p.iter().any(|p| *p > 0.5);
    let clamped = |p: &[f32]| p.iter().all(|p| *p > 2e-5);
    let evidential = |p: &[f32]| p.iter().all(|p| *p > 1e-4);
    type Law<'a> = &'a dyn Fn(&[f32]) -> bool;
    for (activation, scale, law) in
        [("rejection", "scale=0.2", &rejected as Law), ("clamp", "scale=50", &clamped), ("evidential", "scale=50", &evidential)]
    {
        let mut of_doors = Vec::new();
        for plugin in [&rust, &c] {
            let bench = Bench::new();
            let options = ["--set", &format!("activation={activation}"), "--set", scale];
            bench.train(plugin, &options).expect_success();
            let output = bench.folder().join("predicted");
            predict(&bench, plugin, &output).expect_success();
            let mut maps = Vec::new();
            for case in 0..tests::case::CASES {
                let (shape, p) = read_npz(&output.join(format!("case_{case:03}.npz")), "probabilities");
                let voxels = p.len() / shape[0];
                let of_voxel = |voxel: usize| (0..shape[0]).map(|class| p[class * voxels + voxel]).collect::<Vec<f32>>();
                let labels = read_labels(&output.join(format!("case_{case:03}.nii"))).expect("predicted").volume;
                for (voxel, label) in labels.data().iter().enumerate() {
                    let p = of_voxel(voxel);
                    assert!(law(&p), "{activation}: {p:?}");
                    let most = p.iter().copied().fold(0.0, f32::max);
                    assert!(p[*label as usize] == most, "{activation}: label {label} with {p:?}");
                }
                // The final validation predicts with the same weights in the same way.
                let validated = bench.fold().join(format!("validation/case_{case:03}.nii"));
                if validated.is_file() {
                    assert_eq!(read_labels(&validated).expect("predicted").volume, labels, "{activation}: case {case}");
                }
                maps.push(labels);
            }
            let summary = read_summary(&bench.fold().join("validation"));
            assert!(summary["metric_per_case"].as_array().is_some_and(|cases| !cases.is_empty()), "{summary}");
            of_doors.push(maps);
        }
        assert!(of_doors[0] == of_doors[1], "{activation}: the doors differ");
    }
}

#[test]
fn wrong_claims_are_found_by_the_host_and_by_the_kit() {
    let (plugin, _folder) = claiming(&["activate", "forward"]);
    let bench = Bench::new();
    for (option, method) in [
        ("activation=rejection", "activate"),
        ("activation=clamp", "activate"),
        ("activation=evidential", "activate"),
        ("mixed=true", "forward"),
    ] {
        let words = [method, "but its manifest says that it keeps", "`keeps`"];
        bench.train(&plugin, &["--set", option]).expect_failure(&words);
        assert!(!bench.results().join("Dataset001_Small").exists(), "refused before the first file is written");
        let found = bench.run(&["plugin", "check", text(&plugin), "--only", "keeps", "--set", option, "--time-limit", "600"]);
        assert!(found.code == 1 && found.stdout.contains(&format!("keeps {method}")), "{found:#?}");
    }
    bench.run(&["plugin", "check", text(&plugin), "--only", "keeps", "--time-limit", "600"]).expect_success();
    bench.train(&plugin, &[]).expect_success();

    // Trained without a claim, and claimed only when it is used: weights of the same file, so to say.
    let honest = artifact::fixture("activations");
    let bench = Bench::new();
    bench.train(&honest, &["--set", "activation=rejection"]).expect_success();
    let ended = predict(&bench, &plugin, &bench.folder().join("predicted"));
    ended.expect_failure(&["activate", "but its manifest says that it keeps"]);
}

#[test]
fn who_keeps_activation_is_not_asked_and_others_are_with_a_word() {
    let asked = "is asked for predictions";
    for (plugin, options, is_asked) in [
        (artifact::plugin("base"), &[][..], false),
        (artifact::cpp_plugin(), &[], false),
        (artifact::fixture("activations"), &[], true),
        (artifact::fixture_against("two-heads", Api::Released("1.0.0")), &["--set", "weight=0.5"], true),
        (artifact::fixture_against("two-heads", Api::Released("1.1.0")), &["--set", "weight=0.5"], true),
    ] {
        let bench = Bench::new();
        bench.train(&plugin, options).expect_success();
        let output = bench.folder().join("predicted");
        let ended = predict(&bench, &plugin, &output).expect_success();
        assert_eq!(ended.stderr.matches(asked).count(), usize::from(is_asked), "{}: {}", plugin.display(), ended.stderr);
    }
}

#[test]
fn what_nnunet_would_predict_otherwise_is_not_exported_for_it() {
    let train = |plugin: &Path, options: &[&str]| {
        let bench = Bench::new();
        bench.train(plugin, options).expect_success();
        bench
    };
    let plugin = artifact::fixture("activations");
    let bench = train(&plugin, &[]);
    export(&bench, &[]).expect_success();
    // Where this user's trainings left no trace.
    fs::remove_dir_all(bench.folder().join(".local/state")).expect("written");
    export(&bench, &[]).expect_failure(&["does not say whether it keeps", "--plugin", "--unchecked"]);
    export(&bench, &["--unchecked"]).expect_success();
    export(&bench, &["--plugin", text(&plugin)]).expect_success();

    for (option, what) in [
        ("activation=rejection", "another activate than nnU-Net"),
        ("mixed=true", "another forward than nnU-Net"),
        ("scale=3", "another forward than nnU-Net"),
    ] {
        let bench = train(&plugin, &["--set", option]);
        export(&bench, &["--plugin", text(&plugin)]).expect_failure(&[what, "--format safetensors"]);
    }
    let (one, _folder) = claiming(&["activate"]);
    export(&train(&one, &[]), &[]).expect_failure(&["does not keep both forward and activate"]);

    // As a checkpoint of ours was before manifests could say what is kept.
    let bench = train(&artifact::plugin("base"), &[]);
    let checkpoint = bench.fold().join("checkpoint_final.safetensors");
    change_header(&checkpoint, |header| {
        let manifest = header["identity"]["library"]["manifest"].as_object_mut().expect("an object");
        manifest.remove("keeps").expect("it says so");
        manifest.insert("api".to_owned(), "1.1.0".into());
        header["identity"].as_object_mut().expect("an object").remove("task").expect("it says so");
    });
    export(&bench, &[]).expect_success();
    predict(&bench, &artifact::plugin("base"), &bench.folder().join("predicted")).expect_success();
}

#[test]
fn heads_that_know_their_patch_are_built_with_the_patch_that_they_were_trained_on() {
    let plugin = artifact::fixture("activations");
    let bench = Bench::new();
    // Planned is another one.
    bench.train(&plugin, &["--set", "bias_of_patch=true", "--patch-size", "8,16,16"]).expect_success();
    predict(&bench, &plugin, &bench.folder().join("predicted")).expect_success();
    // Without the patch that was asked for then.
    bench.train(&plugin, &["--set", "bias_of_patch=true", "--validate-only"]).expect_success();

    let output = bench.folder().join("weights");
    bench.run(&["model", "export", "--model", text(&model(&bench)), "--format", "safetensors", "--output", text(&output)]).expect_success();
    let images = bench.raw.folder.join("imagesTr");
    let again = bench.folder().join("again");
    let places = ["predict", "--model", text(&output), "--input", text(&images), "--output", text(&again), "--plugin", text(&plugin)];
    bench.run(&[&places[..], &["--device", "cpu"]].concat()).expect_success();
}

#[test]
fn online_metrics_and_pictures_show_what_would_be_predicted() {
    let plugin = artifact::fixture("activations");
    let train = |plugin: &Path, activation: &str| {
        let bench = Bench::new();
        // So unsure that everything is rejected.
        let options = ["--set", &format!("activation={activation}"), "--set", "scale=0.001", "--examples", "1"];
        bench.train(plugin, &options).expect_success();
        let dice = bench.records()[0]["metrics"]["segmentation"]["dice"].as_f64().expect("measured");
        let mut tensors = bench.final_tensors();
        // Of what is predicted.
        assert!(tensors.remove("probe").is_some(), "a checkpoint has a probe");
        (dice, fs::read(bench.fold().join("examples/epoch_0000.png")).expect("drawn"), tensors)
    };
    let (softmax, rejection) = (train(&plugin, "softmax"), train(&plugin, "rejection"));
    assert!(softmax.2 == rejection.2, "training is the same");
    assert!(softmax.0 > 0.0 && rejection.0 == 0.0, "{} and {}", softmax.0, rejection.0);
    assert!(softmax.1 != rejection.1, "the pictures show the same");
    // What is kept need not be asked, and gives the same.
    let (claiming, _folder) = claiming(&["activate"]);
    assert!(train(&claiming, "softmax") == softmax);
}
