//! Augmentation as a user meets it: named, from a file, asked for by a plugin, shown and drawn; and training with targets of all kinds.

use imaging::Volume;
use imaging::io::{Geometry, read_labels, write_image};
use serde_json::{Value, json};
use std::fs;
use tests::artifact;
use tests::picture::expect_drawn;
use tests::program::{Bench, Ended, read_summary};

/// What the log says of the batches.
fn data_key(ended: &Ended) -> String {
    let (_, key) = ended.stdout.split_once("data key ").unwrap_or_else(|| panic!("no data key in {}", ended.stdout));
    key.split_whitespace().next().expect("a key").to_owned()
}

#[test]
fn a_pipeline_is_the_same_by_name_and_from_a_file_and_the_data_key_tells_others_apart() {
    let bench = Bench::new();
    let key = |further: &[&str]| {
        let further: Vec<&str> = further.iter().copied().chain(["--overwrite"]).collect();
        let ended = bench.train(&artifact::plugin("base"), &further);
        data_key(&ended.expect_success())
    };
    let shown = bench.run(&["augmentation", "show", "--patch-size", "16,16,16"]).expect_success().stdout;
    let file = bench.folder().join("mine.json");
    fs::write(&file, &shown).expect("writable");
    let file = file.display().to_string();
    let default = key(&[]);
    assert_eq!(key(&["--augmentation", &file]), default);
    assert_ne!(key(&["--augment", "mirror=null"]), default);
    assert_ne!(key(&["--class-balanced"]), default);

    let mut document: Value = serde_json::from_str(&shown).expect("JSON");
    document["spatial"]["scaling"] = json!([1.5, 0.5]);
    fs::write(&file, document.to_string()).expect("writable");
    bench.train(&artifact::plugin("base"), &["--augmentation", &file]).expect_refusal(&[
        &file,
        "spatial.scaling is [1.5, 0.5]",
        "expected",
    ]);
    bench.train(&artifact::plugin("base"), &["--augmentation", "da55"]).expect_refusal(&["da55", "did you mean \"da5\"?"]);
    bench.train(&artifact::plugin("base"), &["--augment", "mirror.axes=[7]"]).expect_refusal(&["mirror.axes is [7]"]);
    bench.train(&artifact::plugin("base"), &["--case-weights", &file]).expect_refusal(&["--case-weights", &file, "expected {"]);
}

#[test]
fn a_plugin_may_ask_for_one_and_the_flag_wins() {
    let bench = Bench::new();
    let base = data_key(&bench.train(&artifact::plugin("base"), &["--augmentation", "none"]).expect_success());
    for plugin in [artifact::fixture("brier"), artifact::cpp_plugin()] {
        let asked = bench.train(&plugin, &["--overwrite"]).expect_success();
        assert!(asked.stdout.contains("Augmentation none (asked for by the plugin)"), "{}", asked.stdout);
        assert_eq!(data_key(&asked), base);
        let other = bench.train(&plugin, &["--overwrite", "--augmentation", "default"]).expect_success();
        assert!(other.stdout.contains("Augmentation default\n"), "{}", other.stdout);
        assert_ne!(data_key(&other), base);
    }
}

#[test]
fn targets_of_all_kinds_are_drawn_and_trained_on() {
    let bench = Bench::new();
    let raw = &bench.raw;
    raw.describe(json!({"targets": {
        "importance": {"kind": "weight", "of": "segmentation"},
        "flow": {"kind": "regression", "channels": 3, "vectors": true},
        "depth": {"kind": "derived", "from": "segmentation", "op": "signed_distance"},
        "border": {"kind": "derived", "from": "segmentation", "op": "boundary"},
        "lines": {"kind": "derived", "from": "segmentation", "op": "skeleton"},
        "ball": {"kind": "derived", "from": "segmentation", "op": "subset", "labels": ["ball"]},
    }}));
    for file in fs::read_dir(raw.folder.join("labelsTr")).expect("there").flatten() {
        let [_, depth, height, width] = read_labels(&file.path()).expect("a label map").volume.shape();
        for (target, channels) in [("importance", 1), ("flow", 3)] {
            let folder = raw.folder.join("targetsTr").join(target);
            fs::create_dir_all(&folder).expect("writable");
            let map = Volume::filled([channels, depth, height, width], 0.5);
            write_image(&folder.join(file.file_name()), &map, &Geometry::with_spacing([1.0; 3])).expect("writable");
        }
    }
    let dataset = raw.folder.display().to_string();
    let picture = bench.folder().join("sheet.png");
    let png = picture.display().to_string();
    let preview = ["augmentation", "preview", "--dataset", &dataset, "-n", "3", "--png", &png, "--patch-size", "16,16,16"];
    let drawn = bench.run(&preview).expect_success();
    assert!(drawn.stdout.contains("3 patches of case_000") && drawn.stdout.contains("lines over the image"), "{}", drawn.stdout);
    expect_drawn(&picture);
    bench.run(&[&preview[..], &["--case", "case_099"]].concat()).expect_refusal(&["--case case_099", "did you mean"]);

    let options = bench.folder().join("options.json");
    let outputs = json!({
        "parts": {"target": "segmentation"},
        "flow": {"weight": 0.1},
        "depth": {"weight": 0.1},
        "border": {},
        "lines": {},
        "ball": {},
    });
    fs::write(&options, json!({"outputs": outputs}).to_string()).expect("writable");
    let options = options.display().to_string();
    bench.train(&artifact::plugin("multi-output"), &["--options", &options]).expect_success();
    let record = &bench.records()[0];
    for term in ["parts", "flow", "depth", "border", "lines", "ball"] {
        let value = record["train"][term]["value"].as_f64();
        assert!(value.is_some_and(f64::is_finite), "{term}: {record}");
    }
    // Derived targets have no files; what they are compared with in validation is derived from the label maps.
    let summary = |output: &str| read_summary(&bench.fold().join("validation").join(output));
    assert!(summary("depth").to_string().contains("MAE"));
    assert!(summary("ball")["metric_per_case"][0]["metrics"]["1"]["n_ref"].as_f64().is_some_and(|voxels| voxels > 0.0));
}
