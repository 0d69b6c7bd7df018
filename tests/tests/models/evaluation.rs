//! `host evaluate`: the numbers of a run's own validation, surfaces beside them, and cases that cannot be measured.

use serde_json::Value;
use std::fs;
use std::path::Path;
use tests::artifact;
use tests::program::Bench;

fn summary(folder: &Path) -> Value {
    // As Python writes it, with a bare NaN.
    let text = fs::read_to_string(folder.join("summary.json")).expect("written");
    serde_json::from_str(&text.replace(": NaN", ": null")).expect("JSON")
}

#[test]
fn a_folder_is_measured_as_its_validation_was() {
    let bench = Bench::new();
    bench.train(&artifact::plugin("base"), &["--iterations", "20"]).expect_success();
    let validation = bench.fold().join("validation");
    let own = summary(&validation);
    let (references, output) = (bench.folder().join("references"), bench.folder().join("measured"));
    fs::create_dir(&references).expect("writable");
    let predicted: Vec<_> = fs::read_dir(&validation).expect("there").flatten().map(|file| file.file_name()).collect();
    for name in predicted.iter().filter(|name| name.to_string_lossy().ends_with(".nii")) {
        fs::copy(bench.raw.folder.join("labelsTr").join(name), references.join(name)).expect("copied");
    }
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let arguments = ["evaluate", &text(&references), &text(&validation), "--output", &text(&output)];
    let ended = bench.run(&arguments).expect_success();
    for word in ["ball", "NSD", "HD95", "95 % INTERVAL"] {
        assert!(ended.stdout.contains(word), "no {word}: {ended:#?}");
    }
    let measured = summary(&output);
    assert_eq!(measured["foreground_mean"], own["foreground_mean"]);
    let (ours, case) = (&measured["metric_per_case"][0]["metrics"]["1"], &own["metric_per_case"][0]["metrics"]["1"]);
    case.as_object().expect("metrics").iter().for_each(|(name, value)| assert_eq!(ours[name], *value, "{name}"));
    assert!(ours["NSD"].as_f64().is_some_and(|nsd| (0.0..=1.0).contains(&nsd)));
    let rows = fs::read_to_string(output.join("cases.csv")).expect("written");
    assert!(rows.starts_with("file,label,Dice,IoU,NSD,HD95,ASSD,volume_difference"));

    // A case that was not predicted, and a damaged one: the others are measured all the same.
    let first = fs::read_dir(&references).expect("there").flatten().next().expect("a case").file_name();
    fs::copy(references.join(&first), references.join("absent.nii")).expect("copied");
    fs::copy(references.join(&first), references.join("damaged.nii")).expect("copied");
    fs::write(validation.join("damaged.nii"), b"no image").expect("writable");
    let ended = bench.run(&arguments);
    assert_eq!(ended.code, 1, "{ended:#?}");
    for word in ["absent: ", "it was not predicted", "damaged: ", "2 of "] {
        assert!(ended.stderr.contains(word), "no {word}: {ended:#?}");
    }
    assert_eq!(summary(&output)["foreground_mean"], own["foreground_mean"]);
    bench.run(&["evaluate", &text(&references), &text(&references)]).expect_refusal(&["has no dataset.json", "--dataset-json"]);
}
