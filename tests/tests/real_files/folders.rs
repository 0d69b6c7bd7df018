//! Prepared folders that cannot be written, files that are wrong at first, and commands of which nothing is left.

use super::{change, on_dataset};
use serde_json::json;
use std::fs;
use tests::artifact;
use tests::program::Bench;

#[test]
fn a_prepared_folder_is_trained_from_though_it_cannot_be_written() {
    let bench = Bench::new();
    on_dataset(&bench, &["plan-and-preprocess"]).expect_success();
    let folder = bench.folder().join("preprocessed/Dataset001_Small");
    // As another program lays it out.
    let description = folder.join("dataset.json");
    let text = fs::read_to_string(&description).expect("there");
    fs::write(&description, text.replace("    ", "\t")).expect("writable");
    for file in ["splits_final.json", "preparing.lock"] {
        let _ = fs::remove_file(folder.join(file));
    }
    bench.train_with_read_only(&folder, &artifact::plugin("base"), &["--epochs", "1"]).expect_success();
    assert!(!folder.join("splits_final.json").exists());
}

#[test]
fn a_split_file_is_checked_before_it_is_copied() {
    let bench = Bench::new();
    let splits = bench.raw.folder.join("splits_final.json");
    let cases = |names: &[usize]| names.iter().map(|case| format!("case_{case:03}")).collect::<Vec<_>>();
    fs::write(&splits, json!([{"train": ["case_000", "nope"], "val": ["case_002"]}]).to_string()).expect("writable");
    for command in [&["dataset", "check"][..], &["plan"], &["run", "--plugin", "base", "--epochs", "1"]] {
        let refused = on_dataset(&bench, command);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(refused.code == 1 && said.contains("splits_final.json") && said.contains("nope"), "{command:?}: {refused:#?}");
    }
    let preprocessed = bench.folder().join("preprocessed/Dataset001_Small");
    assert!(!preprocessed.join("splits_final.json").exists() && !preprocessed.join("nnUNetPlans.json").exists());
    fs::write(&splits, json!([{"train": cases(&[0, 1, 3, 4, 5]), "val": cases(&[2])}]).to_string()).expect("writable");
    on_dataset(&bench, &["plan"]).expect_success();
    let copied = fs::read_to_string(preprocessed.join("splits_final.json")).expect("copied");
    assert!(copied.contains("case_005") && !copied.contains("nope"));
}

#[test]
fn a_command_of_which_nothing_is_left_fails() {
    let bench = Bench::new();
    on_dataset(&bench, &["plan"]).expect_success();
    let plans = bench.folder().join("preprocessed/Dataset001_Small/nnUNetPlans.json");
    change(&plans, |json| {
        for (_, configuration) in json["configurations"].as_object_mut().expect("an object") {
            configuration["preprocessor_name"] = json!("MyPreprocessor");
        }
    });
    on_dataset(&bench, &["preprocess"]).expect_failure(&["no configuration that can be preprocessed"]);
    // One is left.
    change(&plans, |json| json["configurations"]["2d"]["preprocessor_name"] = json!("DefaultPreprocessor"));
    let ended = on_dataset(&bench, &["preprocess"]).expect_success();
    assert!(ended.stderr.contains("MyPreprocessor"), "{ended:#?}");
}

#[test]
fn few_cases_are_told_of_when_they_are_planned() {
    let bench = Bench::new();
    for case in 3..6 {
        fs::remove_file(bench.raw.image(case)).expect("there");
        fs::remove_file(bench.raw.labels(case)).expect("there");
    }
    bench.raw.describe(json!({"numTraining": 3}));
    let checked = on_dataset(&bench, &["dataset", "check"]).expect_success();
    assert!(checked.stdout.contains("too few cases for nnU-Net's 5 folds: 3"), "{checked:#?}");
    let planned = on_dataset(&bench, &["plan"]).expect_success();
    assert!(planned.stderr.contains("found 3 cases, expected at least 5"), "{planned:#?}");
}
