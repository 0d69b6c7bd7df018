//! `host demo`, as short as it can be made: what it leaves, and that what it says of its files is so.

use imaging::Volume;
use imaging::io::{read_image, read_labels};
use serde_json::Value;
use std::fs;
use std::path::Path;
use tests::artifact;
use tests::picture::expect_drawn;
use tests::program::{self, Ended, stores};

/// What a run leaves beside its folds, as the README has it.
const BESIDE_FOLDS: [&str; 4] = ["plans.json", "dataset.json", "dataset_fingerprint.json", "plugin.json"];
/// And in a fold, apart from the predictions and the events of TensorBoard.
const IN_FOLD: [&str; 9] = [
    "checkpoint_best.safetensors",
    "checkpoint_final.safetensors",
    "log.txt",
    "metrics.jsonl",
    "progress.png",
    "examples/epoch_0000.png",
    "debug.json",
    "validation/summary.json",
    "validation/distance/summary.json",
];

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).expect("JSON")
}

/// Dice of one label.
fn dice(prediction: &Volume<i16>, reference: &Volume<i16>, label: i16) -> f64 {
    let count = |map: &Volume<i16>| map.data().iter().filter(|value| **value == label).count();
    let both = prediction.data().iter().zip(reference.data()).filter(|pair| *pair.0 == label && *pair.1 == label).count();
    2.0 * both as f64 / (count(prediction) + count(reference)) as f64
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().collect();
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn the_demo_trains_validates_predicts_and_draws_what_it_says() {
    let home = artifact::folder();
    let host = |arguments: &[&str]| {
        let mut host = program::host(home.path());
        // One thread of libtorch, as in other tests.
        host.current_dir(home.path()).args(arguments).env("OMP_NUM_THREADS", "1");
        Ended::of(host)
    };
    let stdout = host(&["demo", "--output", "shown", "--epochs", "1", "--iterations", "1"]).expect_success().stdout;
    let lines: Vec<&str> = stdout.lines().collect();
    let expect_line = |line: &str| assert!(lines.contains(&line), "no {line:?} in {stdout}");

    let shown = home.path().join("shown");
    let raw = shown.join("raw/Dataset999_Demo");
    let fold = shown.join("results/Dataset999_Demo/multi-output__nnUNetPlans__3d_fullres/fold_0");
    expect_line("Data set shown/raw/Dataset999_Demo with 24 cases; preprocessed in shown/preprocessed");
    expect_line("Results shown/results/Dataset999_Demo/multi-output__nnUNetPlans__3d_fullres/fold_0");
    assert_eq!(stores(&shown.join("preprocessed/Dataset999_Demo"), "nnUNetPlans_3d_fullres").len(), 1);
    let models = fold.parent().expect("a folder");
    for file in BESIDE_FOLDS.map(|name| models.join(name)).into_iter().chain(IN_FOLD.map(|name| fold.join(name))) {
        assert!(file.is_file(), "no {}", file.display());
    }
    let mut names = fs::read_dir(&fold).expect("there").map(|entry| entry.expect("readable").file_name());
    assert!(names.any(|name| name.as_encoded_bytes().starts_with(b"events.out.tfevents.")), "no events for TensorBoard");
    for picture in ["progress.png", "examples/epoch_0000.png"] {
        expect_drawn(&fold.join(picture));
    }

    // What is logged is printed, and the numbers are those of the record.
    let log = fs::read_to_string(fold.join("log.txt")).expect("a log");
    log.lines().for_each(|line| expect_line(line.split_once(' ').expect("the time").1));
    let record = json(&fold.join("metrics.jsonl"));
    let number = |place: &str| record.pointer(place).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {place} in {record}"));
    let (train, validation) = (number("/train_loss"), number("/validation_loss"));
    expect_line(&format!("  loss            train {train:8.4}   validation {validation:8.4}"));
    assert!(
        (train - number("/train/organs/weighted") - number("/train/distance/weighted")).abs() < 1e-4,
        "not the sum of its terms: {record}"
    );

    // The validation: as printed, as summed up, and as its files are.
    let cases: Vec<String> = serde_json::from_value(json(&fold.join("debug.json"))["cases"]["validation"].clone()).expect("names");
    expect_line(&format!(
        "Validation of {} cases, shown/{}:",
        cases.len(),
        fold.join("validation").strip_prefix(&shown).expect("in it").display()
    ));
    let files = cases.iter().map(|case| {
        let labels = |path: &Path| read_labels(&path.join(format!("{case}.nii.gz"))).expect("a label map").volume;
        (labels(&fold.join("validation")), labels(&raw.join("labelsTr")))
    });
    let files: Vec<_> = files.collect();
    let of_label = [1, 2].map(|label| mean(files.iter().map(|(prediction, reference)| dice(prediction, reference, label))));
    let [liver, kidney] = of_label;
    expect_line(&format!("  organs          mean Dice {:.4} (liver {liver:.4}, kidney {kidney:.4})", mean(of_label)));
    let summed_up = json(&fold.join("validation/summary.json"))["foreground_mean"]["Dice"].as_f64().expect("a number");
    assert!((summed_up - mean(of_label)).abs() < 1e-9, "{summed_up} is not {}", mean(of_label));
    let distances = cases.iter().map(|case| {
        let map = |path: &Path| read_image(&path.join(format!("{case}.nii.gz"))).expect("a map").volume;
        let (prediction, reference) = (map(&fold.join("validation/distance")), map(&raw.join("targetsTr/distance")));
        mean(prediction.data().iter().zip(reference.data()).map(|(a, b)| f64::from((a - b).abs())))
    });
    let (by_hand, summed_up) = (mean(distances), json(&fold.join("validation/distance/summary.json"))["mean"]["MAE"].as_f64());
    let summed_up = summed_up.expect("a number");
    assert!((summed_up - by_hand).abs() < 1e-5, "{summed_up} is not {by_hand}");
    let said = format!("  distance        MAE {summed_up:.4}, ");
    assert!(lines.iter().any(|line| line.starts_with(&said)), "no {said:?} in {stdout}");

    // The unseen case.
    assert!(raw.join("imagesTs/organs_025_0000.nii.gz").is_file() && !raw.join("imagesTr/organs_025_0000.nii.gz").exists());
    assert_eq!(lines.last(), Some(&"Prediction (left) and truth (right) of a case that was in no training: shown/unseen.png"));
    expect_drawn(&shown.join("unseen.png"));

    // The command line that is shown is that of the training: a run by hand, of one epoch more, is refused for that and nothing else.
    let by_hand = lines.iter().skip_while(|line| **line != "The same by hand:").nth(1).expect("a command line");
    let by_hand = by_hand.replace("--overwrite", "--resume").replace("--epochs 1", "--epochs 2");
    let refused = host(&by_hand.split_whitespace().skip(1).collect::<Vec<_>>());
    refused.expect_refusal(&["checkpoint_final.safetensors: its epochs is 1, this run has 2; give the same"]);
}
