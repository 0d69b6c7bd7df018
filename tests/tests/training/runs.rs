//! What a run leaves for a person: records that keep to their schema, pictures, tables, and checkpoints that know where they belong.

use gate::LibraryFile;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use tests::artifact;
use tests::picture::expect_drawn;
use tests::program::Bench;

fn keys(value: &Value) -> BTreeSet<&String> {
    value.as_object().expect("an object").keys().collect()
}

#[test]
fn a_run_is_recorded_drawn_listed_and_compared() {
    let bench = Bench::new();
    let (multi, base) = (artifact::plugin("multi-output"), artifact::plugin("base"));
    let two = ["--epochs", "2", "--examples", "1", "--name", "two"];
    let outputs =
        ["--set", "outputs.parts.target=segmentation", "--set", "outputs.more.target=segmentation", "--set", "outputs.more.weight=0.5"];
    bench.train(&multi, &two.iter().chain(&outputs).copied().collect::<Vec<_>>()).expect_success();
    let fold = bench.fold();
    let schema: Value = serde_json::from_str(&bench.run(&["runs", "schema"]).expect_success().stdout).expect("JSON");
    for record in bench.records() {
        assert_eq!(keys(&record), keys(&schema["properties"]), "the schema lies");
    }
    let examples = ["examples/epoch_0000.png", "examples/epoch_0001.png"].map(|path| expect_drawn(&fold.join(path)));
    assert_eq!(examples[0], examples[1], "the sizes of two epochs' pictures");
    expect_drawn(&fold.join("progress.png"));
    let debug: Value = serde_json::from_slice(&fs::read(fold.join("debug.json")).expect("written")).expect("JSON");
    for place in [
        "/host",
        "/command/0",
        "/seed",
        "/identity/library/sha256",
        "/identity/library/manifest/id",
        "/identity/machine/libtorch",
        "/identity/machine/cpu",
    ] {
        assert!(debug.pointer(place).is_some_and(|value| !value.is_null()), "debug.json has no {place}");
    }

    bench.train(&base, &["--name", "one", "--no-deep-supervision"]).expect_success();
    let results = bench.results();
    let runs = |arguments: &[&str]| {
        let place = ["--output", results.to_str().expect("UTF-8")];
        bench.run(&["runs"].iter().chain(arguments).chain(&place).copied().collect::<Vec<_>>())
    };
    let list = runs(&["list"]).expect_success().stdout;
    for words in [["multi-output-two__nnUNetPlans__3d_fullres/fold_0", "2/2"], ["base-one__nnUNetPlans__3d_fullres/fold_0", "1/1"]] {
        assert!(list.lines().any(|line| words.iter().all(|word| line.contains(word)) && line.contains("finished")), "{list}");
    }
    let show = runs(&["show", "multi-output-two__nnUNetPlans__3d_fullres"]).expect_success().stdout;
    for row in ["train/parts", "train/more", "metrics/more/dice_ball", "moving_average/parts", "learning_rate"] {
        assert!(
            show.lines().any(|line| line.starts_with(row) && line.split_whitespace().count() == 3),
            "no {row} for two epochs in {show}"
        );
    }
    let png = bench.folder().join("compare.png");
    let names = ["multi-output-two__nnUNetPlans__3d_fullres", "base-one__nnUNetPlans__3d_fullres", "--png", png.to_str().expect("UTF-8")];
    let compare = runs(&["compare"].iter().chain(&names).copied().collect::<Vec<_>>()).expect_success().stdout;
    assert!(
        compare.lines().any(|line| line.starts_with("train/loss") && line.split_whitespace().count() == 5 && !line.contains(" - ")),
        "{compare}"
    );
    assert!(compare.lines().any(|line| line.starts_with("train/more") && line.ends_with('-')), "{compare}");
    expect_drawn(&png);
    runs(&["show", "fold_0"]).expect_refusal(&["several runs end in 'fold_0'", "base-one"]);
    runs(&["show", "nothing"]).expect_refusal(&["no run ends in 'nothing'", "multi-output-two"]);
}

#[test]
fn a_checkpoint_of_another_run_is_refused_unless_told_otherwise() {
    let bench = Bench::new();
    let base = artifact::plugin("base");
    bench.plan_tiny();
    let tiny = ["--configuration", "tiny"];
    let train = |further: &[&str]| bench.train(&base, &tiny.iter().chain(further).copied().collect::<Vec<_>>());
    train(&["--epochs", "1"]).expect_success();
    train(&["--epochs", "1", "--resume", "--optimiser", "adamw"]).expect_refusal(&["recipe.optimiser", "\"sgd\"", "\"adamw\""]);
    train(&["--epochs", "2", "--resume"]).expect_refusal(&["its epochs is 1, this run has 2"]);
    train(&["--epochs", "1", "--resume", "--no-deep-supervision"]).expect_refusal(&["deep_supervision"]);

    // Another version of the plugin, another build of the same one, and another plan.
    let copy = artifact::with_manifest(&base, bench.folder(), |manifest| manifest.version = "7.0.0".to_owned());
    let resumed: Vec<&str> = tiny.iter().chain(&["--epochs", "1", "--resume"]).copied().collect();
    bench.train(&copy, &resumed).expect_refusal(&["plugin_version", "7.0.0"]);
    let copy = artifact::with_manifest(&base, bench.folder(), |_| {});
    let hash = |path| LibraryFile::read(path).expect("a plugin").identity.sha256;
    bench.train(&copy, &resumed).expect_refusal(&["its library.sha256 is", &hash(&base), &hash(&copy), "--resume-anyway"]);
    let path = bench.folder().join("preprocessed/Dataset001_Small/nnUNetPlans.json");
    let plans = fs::read_to_string(&path).expect("planned");
    let mut changed: Value = serde_json::from_str(&plans).expect("JSON");
    changed["configurations"]["tiny"]["architecture"]["arch_kwargs"]["deep_supervision"] = false.into();
    fs::write(&path, changed.to_string()).expect("writable");
    train(&["--epochs", "1", "--resume"]).expect_refusal(&[
        "plan.architecture.arch_kwargs.deep_supervision is null, this run has false",
        "its deep_supervision is true, this run has false",
    ]);
    fs::write(&path, plans).expect("writable");

    let anyway = train(&["--epochs", "2", "--resume-anyway"]).expect_success();
    assert!(anyway.stderr.contains("its epochs is 1") && anyway.stderr.contains("taken as it is"), "{anyway:#?}");
    assert_eq!(bench.records().len(), 2);
}

#[test]
fn a_plugin_names_its_optimiser_and_flags_win() {
    let train = |further: &[&str]| {
        let bench = Bench::new();
        let ended = bench.train(&artifact::fixture("annealed"), further).expect_success();
        let line = ended.stdout.lines().find(|line| line.starts_with("Optimiser")).expect("told").to_owned();
        let tensors = bench.final_tensors();
        (line, tensors.keys().filter_map(|name| name.split('.').next()).map(str::to_owned).collect::<BTreeSet<_>>())
    };
    let (line, state) = train(&[]);
    assert!(["Adamw", "0.001", "Cosine", "2 batches a step", "decay 0.9"].iter().all(|word| line.contains(word)), "{line}");
    assert!(["mean", "square", "steps", "ema"].iter().all(|what| state.contains(*what)), "{state:?}");
    let (line, state) = train(&["--optimiser", "sgd", "--accumulate", "1"]);
    assert!(line.contains("Sgd") && line.contains("0.001") && !line.contains("batches a step"), "{line}");
    assert!(state.contains("velocity") && !state.contains("mean"), "{state:?}");
}

#[test]
fn two_programs_do_not_train_one_fold() {
    let bench = Bench::new();
    let base = artifact::plugin("base");
    let lock = || {
        let log = fs::OpenOptions::new().append(true).open(bench.fold().join("log.txt")).expect("there");
        log.try_lock().expect("nobody else has it");
        log
    };
    bench.train(&base, &[]).expect_success();
    let _lock = lock();
    bench.train(&base, &["--resume"]).expect_failure(&["log.txt", "another program is training this fold"]);
}
