//! Settings from files: what `debug.json` says repeats a run, wrong ones are refused with their place, and plugins of old may ask for theirs.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tests::artifact::{self, Api};
use tests::program::{Bench, tensors_of};

/// What a fold holds that must come out again.
#[derive(PartialEq)]
struct Results {
    tensors: BTreeMap<String, Vec<u8>>,
    records: Vec<Value>,
    predictions: Vec<(PathBuf, Vec<u8>)>,
}

fn results(bench: &Bench, fold: &Path) -> Results {
    let mut predictions: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(fold.join("validation"))
        .expect("validated")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.to_str().is_some_and(|path| path.ends_with(".nii")))
        .map(|path| (path.clone(), fs::read(&path).expect("readable")))
        .collect();
    predictions.sort();
    let tensors = tensors_of(&fold.join("checkpoint_final.safetensors"));
    Results { tensors, records: bench.lasting_records_of(fold), predictions }
}

/// Copies the `debug.json` of `fold`, and runs it again in place, from another working folder.
fn repeat(bench: &Bench, fold: &Path) {
    let copy = bench.folder().join("again.json");
    fs::copy(fold.join("debug.json"), &copy).expect("written by the run");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let mut host = bench.host();
    host.current_dir(elsewhere.path()).args(["run", "--overwrite", "--config", copy.to_str().expect("UTF-8")]);
    bench.finish(host).expect_success();
}

#[test]
fn a_run_is_repeated_from_its_debug_json() {
    let bench = Bench::new();
    let further = ["--epochs", "2", "--set", "outputs.segmentation.weight=0.5", "--augment", "mirror=null", "--learning-rate", "0.02"];
    let plugin = artifact::plugin("multi-output");
    bench.train(&plugin, &[&further[..], &["--weighting", "dwa:3", "--weighting", "segmentation=linear:1:0.5"]].concat()).expect_success();
    let fold = bench.fold();
    let before = results(&bench, &fold);
    assert!(!before.predictions.is_empty() && before.records.len() == 2);
    let config = |fold: &Path| {
        let debug: Value = serde_json::from_slice(&fs::read(fold.join("debug.json")).expect("written")).expect("JSON");
        debug["config"].clone()
    };
    let asked = config(&fold);
    assert_eq!(
        (&asked["options"]["outputs"]["segmentation"]["weight"], &asked["learning_rate"], &asked["epochs"]),
        (&json!(0.5), &json!(0.02), &json!(2))
    );
    repeat(&bench, &fold);
    assert!(results(&bench, &fold) == before, "another run");
    assert_eq!(config(&fold), asked);
    for key in ["resume", "overwrite", "resume_anyway", "validate_only"] {
        assert!(asked.get(key).is_none(), "{key} is no setting");
    }
    // Every setting is one of the schema.
    let schema: Value = serde_json::from_str(&bench.run(&["run", "--schema"]).expect_success().stdout).expect("JSON");
    assert!(jsonschema::is_valid(&schema, &asked), "{asked}");
    assert!(!jsonschema::is_valid(&schema, &json!({"dataset": "4", "epoch": 1})), "an unknown setting");
}

#[test]
fn a_comparison_is_repeated_from_the_debug_json_of_an_arm() {
    let bench = Bench::new();
    let base = artifact::plugin("base");
    let arms = ["a", "b"].map(|name| format!("{name}={}", base.display()));
    let arguments = ["--arm", &arms[0], "--arm", &arms[1], "--arm-training", "b=--optimiser adam --learning-rate 0.001", "--epochs", "2"];
    bench.train_arms(&arguments).expect_success();
    let fold = |name: &str| bench.results().join(format!("Dataset001_Small/base-{name}__nnUNetPlans__3d_fullres/fold_0"));
    let of_both = || [fold("a"), fold("b")].map(|fold| results(&bench, &fold));
    let before = of_both();
    assert!(before[0].tensors != before[1].tensors, "the arms differ");
    repeat(&bench, &fold("b"));
    assert!(of_both() == before, "another comparison");
    // The same from a file of one's own.
    let mut own: Value = serde_json::from_slice(&fs::read(fold("a").join("debug.json")).expect("written")).expect("JSON");
    assert_eq!(own["config"]["arms"]["b"]["optimiser"], "adam");
    own["config"]["arms"]["b"]["optimiser"] = json!("sgd");
    let path = bench.folder().join("mine.json");
    fs::write(&path, own["config"].to_string()).expect("writable");
    let further = ["run", "--overwrite", "--config", path.to_str().expect("UTF-8"), "--arm-training", "b=--optimiser adam"];
    bench.run(&further).expect_success();
    assert!(of_both() == before, "flags win over files");
}

#[test]
fn wrong_settings_are_refused_with_their_place() {
    let bench = Bench::new();
    let base = artifact::plugin("base");
    let file = bench.folder().join("mine.json");
    let with = |config: Value| {
        fs::write(&file, config.to_string()).expect("writable");
        bench.train(&base, &["--config", file.to_str().expect("UTF-8")])
    };
    with(json!({"epoch": 3})).expect_refusal(&["mine.json: there is no setting 'epoch': did you mean 'epochs'?"]);
    with(json!({"seed": -1})).expect_refusal(&["mine.json: setting 'seed': -1 is less than the minimum of 0"]);
    with(json!({"betas": [0.9, 0.99]})).expect_refusal(&["mine.json: setting 'betas' is for --optimiser adam or adamw only"]);
    with(json!({"options": 3})).expect_refusal(&["mine.json: setting 'options': 3 is not of type \"object\""]);
    with(json!([1])).expect_refusal(&["mine.json: ", "expected a map"]);
    let flag = bench.train(&base, &["--seed", "-1"]);
    assert_eq!((flag.code, flag.stderr.as_str()), (2, "error: the command line: setting 'seed': -1 is less than the minimum of 0\n"));
    let typo = bench.train(&base, &["--learning-rat", "1"]);
    let expected = "error: the command line: there is no setting 'learning_rat': did you mean 'learning_rate'?\n";
    assert_eq!((typo.code, typo.stderr.as_str()), (2, expected));
    for (given, missing) in [(["--dataset", "4"], "plugin"), (["--plugin", "base"], "dataset")] {
        let ended = bench.run(&[&["run"][..], &given].concat());
        let expected = format!("error: the command line: setting '{missing}' is missing; give --{missing}\n");
        assert_eq!((ended.code, ended.stderr), (2, expected));
    }
    assert!(!bench.results().join("Dataset001_Small").exists(), "nothing is written");

    // A plugin whose manifest has other words of the same length.
    let plugin = artifact::fixture("annealed");
    let (old, new) = ("--optimiser adamw", "--optimizer adamw");
    let mut bytes = fs::read(&plugin).expect("built");
    let at: Vec<usize> = (0..bytes.len() - old.len()).filter(|at| bytes[*at..].starts_with(old.as_bytes())).collect();
    assert!(!at.is_empty(), "the manifest is in the library");
    at.into_iter().for_each(|at| bytes[at..at + new.len()].copy_from_slice(new.as_bytes()));
    let wrong = bench.folder().join("libwrong.so");
    fs::write(&wrong, bytes).expect("writable");
    bench.train(&wrong, &[]).expect_refusal(&["plugin annealed: its manifest: there is no setting 'optimizer': did you mean 'optimiser'?"]);
}

#[test]
fn settings_are_of_use_with_what_plugins_and_arms_ask_for() {
    // The plugin asks for adamw, the arms for the schedule.
    let bench = Bench::new();
    bench.train(&artifact::fixture("annealed"), &["--betas", "0.8,0.99"]).expect_success();
    let base = artifact::plugin("base").display().to_string();
    let (a, b) = (format!("a={base}"), format!("b={base}"));
    let words = ["--arm-training", "a=--schedule warmup-poly", "--arm-training", "b=--schedule warmup-poly --ema .9"];
    let arms = [&["--arm", &a, "--arm", &b, "--warmup", "1", "--epochs", "2"][..], &words].concat();
    bench.train_arms(&arms).expect_success();
    bench
        .train_arms(&[&arms[..4], &["--arm-training", "b=--momentum 0.5 --optimiser adam"]].concat())
        .expect_refusal(&["error: arm b: setting 'momentum' is for --optimiser sgd only"]);

    // Options of all arms stay where one changes some of its own.
    let multi = artifact::plugin("multi-output").display().to_string();
    let file = bench.folder().join("arms.json");
    let options = json!({"outputs": {"parts": {"target": "segmentation"}}});
    let config = json!({"options": options, "arms": {"one": {"plugin": multi}, "two": {"plugin": multi}}, "no_validation": true});
    fs::write(&file, config.to_string()).expect("writable");
    let file = file.to_str().expect("UTF-8");
    bench.train_arms(&["--config", file, "--set", "two.outputs.more.target=segmentation"]).expect_success();
    let fold = |name: &str| bench.results().join(format!("Dataset001_Small/multi-output-{name}__nnUNetPlans__3d_fullres"));
    let plugin: Value = serde_json::from_slice(&fs::read(fold("two").join("plugin.json")).expect("written")).expect("JSON");
    let outputs: Vec<&str> =
        plugin["outputs"].as_array().expect("a list").iter().map(|output| output["name"].as_str().expect("a name")).collect();
    assert_eq!(outputs, ["parts", "more"]);
    // Asked for after all.
    let ended = bench.train_arms(&["--config", file, "--set", "two.outputs.more.target=segmentation", "--validate-only"]).expect_success();
    assert!(ended.stdout.contains("Validation of 2 cases"), "{ended:#?}");
}

#[test]
fn a_plugin_of_a_released_interface_asks_for_its_training() {
    let plugin = artifact::fixture_against("annealed", Api::Released("1.1.0"));
    for (further, optimiser, rate) in [(&[][..], "adamw", 0.001), (&["--learning-rate", "0.01", "--schedule", "poly"], "adamw", 0.01)] {
        let bench = Bench::new();
        bench.train(&plugin, further).expect_success();
        let debug: Value = serde_json::from_slice(&fs::read(bench.fold().join("debug.json")).expect("written")).expect("JSON");
        let recipe = &debug["identity"]["recipe"];
        assert_eq!((&recipe["optimiser"], &recipe["learning_rate"], &recipe["accumulate"]), (&json!(optimiser), &json!(rate), &json!(2)));
    }
}
