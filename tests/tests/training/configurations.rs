//! The ways a run can go other than the plain one: 2D, regions with an ignore label, every kind of output at once.

use imaging::io::{read_image, read_labels};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tests::artifact;
use tests::program::Bench;

#[test]
fn slices_of_a_2d_network() {
    let bench = Bench::new();
    let arguments = ["--configuration", "2d", "--patch-size", "16,16", "--fold", "0,all"];
    bench.train(&artifact::plugin("base"), &arguments).expect_success();
    for fold in [bench.fold(), bench.fold().with_file_name("fold_all")] {
        let case =
            fs::read_dir(fold.join("validation")).expect("validated").flatten().find(|f| f.path().extension().is_some_and(|e| e == "nii"));
        let predicted = read_labels(&case.expect("a prediction").path()).expect("a label map");
        assert_eq!(predicted.volume.spatial()[0], 16, "every slice is predicted");
    }
}

#[test]
fn regions_with_an_ignore_label() {
    let bench = Bench::new();
    let labels = json!({"background": 0, "organs": [1, 2], "box": [2], "ignore": 3});
    bench.raw.describe(json!({"labels": labels, "regions_class_order": [1, 2]}));
    bench.raw.relabel(0, |mut map| {
        map.data_mut()[..64].fill(3);
        map
    });
    bench.train(&artifact::plugin("base"), &[]).expect_success();
    let summary = read_json(&bench.fold().join("validation/summary.json"));
    let regions: Vec<&String> = summary["mean"].as_object().expect("by region").keys().collect();
    assert_eq!(regions, ["(1, 2)", "(2,)"], "as Python's str has them");
}

#[test]
fn every_kind_of_output_with_its_own_terms_metrics_and_files() {
    let bench = Bench::new();
    let raw = bench.folder().join("raw/Dataset999_Demo");
    data::demo::write_dataset(&raw, 1).expect("writable");
    // One case lacks its distance map, which the description allows.
    let description = raw.join("dataset.json");
    let mut json = read_json(&description);
    json["targets"]["distance"]["optional"] = true.into();
    fs::write(&description, json.to_string()).expect("writable");
    fs::remove_file(raw.join("targetsTr/distance/organs_002.nii.gz")).expect("there");
    let options = bench.folder().join("options.json");
    let outputs = json!({
        "dice": {"target": "segmentation", "loss": "dice"},
        "ce": {"target": "segmentation", "loss": "ce", "weight": 0.5},
        "distance": {"loss": "l1", "weight": 0.0},
        "volume_class": {},
    });
    fs::write(&options, json!({"outputs": outputs}).to_string()).expect("writable");
    let text = |path: &Path| path.display().to_string();
    let ended = bench.run(&[
        "run",
        "--plugin",
        &text(&artifact::plugin("multi-output")),
        "--dataset",
        &text(&raw),
        "--options",
        &text(&options),
        "--set",
        "outputs.ce.weight=0.25",
        "--output",
        &text(&bench.results()),
        "--epochs",
        "1",
        "--iterations",
        "3",
        "--val-iterations",
        "2",
        "--patch-size",
        "16,16,16",
        "--augmentation",
        "none",
        "--foreground",
        "segmentation",
        "--device",
        "cpu",
        "--precision",
        "fp32",
    ]);
    ended.expect_success();

    let fold = bench.results().join("Dataset999_Demo/multi-output__nnUNetPlans__3d_fullres/fold_0");
    let text = fs::read_to_string(fold.join("metrics.jsonl")).expect("a record");
    let record: Value = serde_json::from_str(text.lines().next().expect("one epoch")).expect("JSON");
    let number = |pointer: &str| record.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {record}"));
    assert!((number("/train/ce/weighted") - 0.25 * number("/train/ce/value")).abs() < 1e-6);
    assert_eq!(number("/train/distance/weighted"), 0.0);
    assert!(number("/train/distance/value") > 0.0, "a term of weight 0 is evaluated all the same");
    for metric in ["dice/dice_liver", "ce/dice_kidney", "distance/mae", "volume_class/accuracy"] {
        number(&format!("/metrics/{metric}"));
    }
    let validation = fold.join("validation");
    let case = read_json(&validation.join("summary.json"))["metric_per_case"][0]["prediction_file"].as_str().expect("a path").to_owned();
    let file = Path::new(&case).file_name().expect("a name");
    let raw_image =
        read_image(&raw.join("imagesTr").join(file.to_str().expect("UTF-8").replace(".nii.gz", "_0000.nii.gz"))).expect("there");
    for output in ["ce", "distance"] {
        let predicted = read_image(&validation.join(output).join(file)).expect("a prediction");
        assert_eq!(predicted.volume.spatial(), raw_image.volume.spatial());
        assert_eq!(predicted.geometry.differs_from(&raw_image.geometry), None);
    }
    for output in ["ce", "distance", "volume_class"] {
        assert!(validation.join(output).join("summary.json").is_file(), "{output}");
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("there")).expect("JSON")
}
