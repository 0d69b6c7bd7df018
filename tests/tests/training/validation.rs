//! `--validate-only`: the validation cases, predicted and measured with the final checkpoint, and nothing else.

use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tests::artifact;
use tests::program::{Bench, read_summary};

/// The files in a folder, by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("there").map(|entry| entry.expect("readable").path()).filter(|path| path.is_file());
    entries.map(|path| (path.file_name().expect("a file").display().to_string(), fs::read(&path).expect("readable"))).collect()
}

#[test]
fn validation_alone_measures_the_final_checkpoint_and_trains_nothing() {
    let (bench, base) = (Bench::new(), artifact::plugin("base"));
    let [other, own] = ["1", "0"].map(|seed| {
        bench.train(&base, &["--seed", seed, "--overwrite"]).expect_success();
        (fs::read(bench.fold().join("checkpoint_final.safetensors")).expect("trained"), files(&bench.fold().join("validation")))
    });
    assert!(own.1["summary.json"] != other.1["summary.json"], "two trainings that cannot be told apart prove nothing");

    let (fold, validation) = (bench.fold(), bench.fold().join("validation"));
    for (checkpoint, expected) in [other, own] {
        fs::write(fold.join("checkpoint_final.safetensors"), checkpoint).expect("ours");
        fs::remove_dir_all(&validation).expect("ours");
        let mut before = files(&fold);
        let ended = bench.train(&base, &["--validate-only"]).expect_success();
        assert!(ended.stdout.contains("Validation of 2 cases") && !ended.stdout.contains("Epoch"), "{}", ended.stdout);
        assert!(files(&validation) == expected, "other predictions, or another summary");
        let mut after = files(&fold);
        let [log_before, log] = [&mut before, &mut after].map(|files| files.remove("log.txt").expect("a log"));
        assert!(log.starts_with(&log_before) && log.len() > log_before.len(), "the log is not what was there, and the validation");
        assert!(after == before, "more than the validation was written");
    }

    bench.train(&base, &["--validate-only", "--fold", "1"]).expect_refusal(&[
        "fold_1",
        "checkpoint_final.safetensors does not exist",
        "train this fold first",
    ]);
    assert!(!fold.with_file_name("fold_1").exists(), "a fold was begun");
    for flag in ["--resume", "--resume-anyway", "--overwrite"] {
        let ended = bench.train(&base, &["--validate-only", flag]);
        assert!(ended.code == 2 && ended.stderr.contains("cannot be used with"), "{ended:#?}");
    }
}

#[test]
fn short_tries_validate_some_cases_or_none() {
    let (bench, base) = (Bench::new(), artifact::plugin("base"));
    let ended = bench.train(&base, &["--no-validation"]).expect_success();
    assert!(!ended.stdout.contains("Validation of") && !bench.fold().join("validation").exists(), "{}", ended.stdout);

    let measured = |further: &[&str]| {
        let ended = bench.train(&base, &[&["--validate-only"], further].concat()).expect_success();
        (ended.stdout, read_summary(&bench.fold().join("validation")))
    };
    let (told, summary) = measured(&["--val-cases", "1"]);
    assert!(told.contains("Validation of 1 of 2 cases"), "{told}");
    assert_eq!(summary["validation_cases"], json!({"all": 2, "measured": 1}));
    assert_eq!(summary["metric_per_case"].as_array().map(Vec::len), Some(1));
    // As many as there are is all of them, which needs no word.
    let (told, whole) = measured(&["--val-cases", "9"]);
    assert!(told.contains("Validation of 2 cases") && whole.get("validation_cases").is_none(), "{told} {whole}");
    assert_eq!(whole["metric_per_case"][0], summary["metric_per_case"][0], "the first of the split");

    let arms = ["--arm", &format!("a={}", base.display()), "--arm", &format!("b={}", base.display())];
    let ended = bench.train_arms(&[&arms[..], &["--val-cases", "1"]].concat()).expect_success();
    assert!(ended.stdout.contains("a, fold_0: only 1 of 2 validation cases were measured"), "{}", ended.stdout);
}
