//! Data sets and models as people have them: what nnU-Net takes is taken, and what is not is refused by the first command that sees it.

mod descriptions;
mod folders;
mod labels;
mod readers;
mod variants;

use serde_json::Value;
use std::fs;
use std::path::Path;
use tests::program::{Bench, Ended};

/// Changes a JSON file.
fn change(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).expect("there")).expect("JSON");
    change(&mut json);
    fs::write(path, json.to_string()).expect("writable");
}

/// Runs a command of the program on the bench's data set.
fn on_dataset(bench: &Bench, command: &[&str]) -> Ended {
    let dataset = bench.raw.folder.to_str().expect("UTF-8");
    bench.run(&[command, &["--dataset", dataset]].concat())
}

/// The data set is checked, planned and preprocessed without a complaint.
fn expect_usable(bench: &Bench) {
    let checked = on_dataset(bench, &["dataset", "check"]).expect_success();
    assert!(checked.stdout.contains("0 errors"), "{checked:#?}");
    on_dataset(bench, &["plan-and-preprocess", "--overwrite"]).expect_success();
}

/// Both the check and the plan refuse the data set, with `words`.
fn expect_refused(bench: &Bench, words: &[&str]) {
    for command in [&["dataset", "check"][..], &["plan", "--overwrite"]] {
        let ended = on_dataset(bench, command);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(ended.code == 1 && words.iter().all(|word| said.contains(word)), "{command:?}: {words:?}: {ended:#?}");
    }
}
