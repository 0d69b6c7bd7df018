//! Words that nothing would follow are refused before hours are spent: names of terms, targets without cases, settings of another optimiser, folds.

use serde_json::json;
use std::fs;
use tests::artifact;
use tests::program::{Bench, read_summary};

/// Adds a regression target `spots` that cases may lack, to every case whose number `has` it.
fn spots(bench: &Bench, has: impl Fn(usize) -> bool) {
    let folder = bench.raw.folder.join("targetsTr/spots");
    fs::create_dir_all(&folder).expect("writable");
    for number in (0..tests::case::CASES).filter(|number| has(*number)) {
        fs::copy(bench.raw.labels(number), folder.join(format!("case_{number:03}.nii"))).expect("copied");
    }
    bench.raw.describe(json!({"targets": {"spots": {"kind": "regression", "optional": true}}}));
}

const BOTH: [&str; 4] = ["--set", "outputs.segmentation={}", "--set", "outputs.spots={}"];

#[test]
fn a_schedule_of_no_term_is_refused_at_the_first_step_also_where_cases_lack_targets() {
    let plugin = artifact::plugin("multi-output");
    let bench = Bench::new();
    // One case has it: most batches have no such term.
    spots(&bench, |number| number == 3);
    let run = |weighting: &str| bench.train(&plugin, &[&BOTH[..], &["--fold", "all", "--weighting", weighting, "--overwrite"]].concat());
    run("segmentatio=constant:1").expect_failure(&["there is no term 'segmentatio': did you mean 'segmentation'?", "iteration 0"]);
    run("spots=constant:0.5").expect_success();
}

#[test]
fn an_output_whose_target_no_training_case_has_is_refused() {
    let plugin = artifact::plugin("multi-output");
    let bench = Bench::new();
    spots(&bench, |_| false);
    bench.train(&plugin, &BOTH).expect_refusal(&["output 'spots' learns target 'spots'", "none of the", "0 cases of the data set"]);
    assert!(!bench.results().join("Dataset001_Small").exists(), "nothing is written");
}

#[test]
fn settings_that_nothing_would_use_are_refused() {
    let plugin = artifact::plugin("base");
    let bench = Bench::new();
    for (arguments, words) in [
        (&["--optimiser", "adam", "--momentum", "0.9"][..], ["'momentum'", "--optimiser sgd"]),
        (&["--betas", "0.9,0.99"], ["'betas'", "--optimiser adam"]),
        (&["--warmup", "3"], ["'warmup'", "--schedule warmup-poly"]),
    ] {
        bench.train(&plugin, arguments).expect_refusal(&words);
    }
}

#[test]
fn a_split_that_is_not_in_the_file_is_named() {
    let plugin = artifact::plugin("base");
    let bench = Bench::new();
    let ended = bench.train(&plugin, &["--fold", "7"]).expect_success();
    let words = "not in splits_final.json: 4 training and 2 validation cases";
    assert!(ended.stdout.contains(words), "{ended:#?}");
    let fold = bench.fold().with_file_name("fold_7");
    let summary = read_summary(&fold.join("validation"));
    assert!(summary["split"].as_str().is_some_and(|split| split.starts_with(words)), "{summary}");
}

#[test]
fn a_target_that_no_sample_has_is_named() {
    let plugin = artifact::plugin("multi-output");
    let bench = Bench::new();
    spots(&bench, |number| number == 3);
    let weights = bench.folder().join("weights.json");
    fs::write(&weights, json!({"case_003": 0}).to_string()).expect("writable");
    let arguments = ["--fold", "all", "--no-validation", "--case-weights", weights.to_str().expect("UTF-8")];
    let ended = bench.train(&plugin, &[&BOTH[..], &arguments].concat()).expect_success();
    assert_eq!(ended.stdout.matches("no sample of an epoch had target 'spots'").count(), 1, "{ended:#?}");
    assert!(!ended.stdout.contains("had target 'segmentation'"), "{ended:#?}");
}
