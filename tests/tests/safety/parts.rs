//! Parts of a prediction, by processes that end in any order: the table of classes and the picture are those of all cases.

use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::artifact::plugin;
use tests::case::CASES;
use tests::program::Bench;

/// A data set with a class for every case, and a model that predicts it.
fn trained() -> (Bench, PathBuf) {
    let bench = Bench::new();
    let classes: serde_json::Map<_, _> = (0..CASES).map(|i| (format!("case_{i:03}"), json!(i % 2))).collect();
    fs::create_dir(bench.raw.folder.join("targetsTr")).expect("writable");
    fs::write(bench.raw.folder.join("targetsTr/size.json"), json!(classes).to_string()).expect("writable");
    bench.raw.describe(json!({"targets": {"size": {"kind": "class", "classes": ["small", "=large"]}}}));
    let options = bench.folder().join("options.json");
    fs::write(&options, json!({"outputs": {"organs": {"target": "segmentation"}, "size": {}}}).to_string()).expect("writable");
    bench.train(&plugin("multi-output"), &["--options", options.to_str().expect("UTF-8"), "--no-validation"]).expect_success();
    let model = bench.fold().parent().expect("a model").to_owned();
    (bench, model)
}

fn predict(bench: &Bench, model: &Path, output: &str, further: &[&str]) -> Command {
    let [output, preview] = [output.to_owned(), format!("{output}.png")].map(|name| bench.folder().join(name).display().to_string());
    let plugin = plugin("multi-output").display().to_string();
    let arguments = [&["--plugin", &plugin, "--output", &output, "--preview", &preview][..], further].concat();
    bench.prediction(model, &bench.raw.folder.join("imagesTr"), &arguments)
}

/// The table of classes and the picture.
fn made(bench: &Bench, output: &str) -> (String, Vec<u8>) {
    let table = fs::read_to_string(bench.folder().join(output).join("size/classes.csv")).expect("written");
    (table, fs::read(bench.folder().join(format!("{output}.png"))).expect("drawn"))
}

#[test]
fn parts_in_any_order_make_the_whole() {
    let (bench, model) = trained();
    bench.finish(predict(&bench, &model, "whole", &[])).expect_success();
    let whole = made(&bench, "whole");
    assert_eq!(whole.0.lines().count(), 1 + CASES);
    assert!(whole.0.starts_with("case,class,small,'=large"));
    for (number, order) in [["1/3", "2/3", "3/3"], ["3/3", "1/3", "2/3"], ["2/3", "3/3", "1/3"]].into_iter().enumerate() {
        let output = format!("parts_{number}");
        for (done, part) in order.into_iter().enumerate() {
            bench.finish(predict(&bench, &model, &output, &["--parts", part])).expect_success();
            // Nothing that was there is lost.
            assert_eq!(made(&bench, &output).0.lines().count(), 1 + (done + 1) * CASES / 3);
        }
        assert_eq!(made(&bench, &output), whole, "{order:?}");
    }

    // All at once; and one that had to be done again.
    let all = ["1/3", "2/3", "3/3"].map(|part| predict(&bench, &model, "at_once", &["--parts", part]).spawn().expect("starts"));
    for mut child in all {
        assert!(child.wait().expect("ours").success());
    }
    assert_eq!(made(&bench, "at_once"), whole);
    fs::remove_file(bench.folder().join("at_once/size/case_001.json")).expect("predicted");
    bench.finish(predict(&bench, &model, "at_once", &["--parts", "2/3", "--continue"])).expect_success();
    assert_eq!(made(&bench, "at_once"), whole);
}
