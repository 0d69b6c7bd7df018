//! `host evaluate`: the numbers of a run's own validation, surfaces beside them, and cases that cannot be measured.

use imaging::Volume;
use imaging::io::{Geometry, read_labels, write_labels};
use std::fs;
use std::path::{Path, PathBuf};
use tests::artifact;
use tests::program::{Bench, Ended, read_summary};

#[test]
fn a_folder_is_measured_as_its_validation_was() {
    let bench = Bench::new();
    bench.train(&artifact::plugin("base"), &["--iterations", "20"]).expect_success();
    let validation = bench.fold().join("validation");
    let own = read_summary(&validation);
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
    let measured = read_summary(&output);
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
    assert_eq!(read_summary(&output)["foreground_mean"], own["foreground_mean"]);
    bench.run(&["evaluate", &text(&references), &text(&references)]).expect_refusal(&["has no dataset.json", "--dataset-json"]);
}

/// Two label maps with a ball, in folders of their own, beside a `dataset.json`.
struct Pair {
    bench: Bench,
    references: PathBuf,
    predictions: PathBuf,
}

impl Pair {
    fn new() -> Self {
        let bench = Bench::new();
        let [references, predictions] = ["references", "predictions"].map(|name| bench.folder().join(name));
        [&references, &predictions].into_iter().for_each(|folder| fs::create_dir(folder).expect("writable"));
        fs::copy(bench.raw.folder.join("dataset.json"), predictions.join("dataset.json")).expect("copied");
        let pair = Self { bench, references, predictions };
        pair.write(&pair.references, "a", Geometry::with_spacing([1.0; 3]));
        pair.write(&pair.predictions, "a", Geometry::with_spacing([1.0; 3]));
        pair
    }

    fn write(&self, folder: &Path, case: &str, geometry: Geometry) {
        let labels = read_labels(&self.bench.raw.labels(0)).expect("there").volume;
        write_labels(&folder.join(format!("{case}.nii")), &labels, &geometry).expect("writable");
    }

    /// A geometry with this origin, and with an x axis that runs to the left where `mirrored`.
    fn geometry(&self, origin: f32, mirrored: bool) -> Geometry {
        let path = self.bench.folder().join("geometry.nii");
        write_labels(&path, &Volume::filled([1, 2, 2, 2], 0), &Geometry::with_spacing([1.0; 3])).expect("writable");
        let mut bytes = fs::read(&path).expect("just written");
        // NIfTI-1: srow_x, the first row of the matrix from voxels to mm; sform_code says that it counts.
        let mut put = |at: usize, value: f32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        put(280, if mirrored { -1.0 } else { 1.0 });
        put(292, origin);
        bytes[252..256].copy_from_slice(&[0, 0, 1, 0]);
        fs::write(&path, bytes).expect("writable");
        read_labels(&path).expect("a header").geometry
    }

    fn evaluate(&self, further: &[&str]) -> Ended {
        let folders = [&self.references, &self.predictions].map(|path| path.to_str().expect("UTF-8"));
        self.bench.run(&[&["evaluate"], &folders[..], further].concat())
    }
}

#[test]
fn files_that_do_not_lie_on_each_other_are_not_measured() {
    let pair = Pair::new();
    pair.evaluate(&[]).expect_success();
    for (geometry, what) in [(pair.geometry(0.0, true), "direction"), (Geometry::with_spacing([1.0, 1.0, 2.0]), "spacing")] {
        pair.write(&pair.predictions, "a", geometry);
        let ended = pair.evaluate(&[]);
        assert!(ended.code == 1, "{ended:#?}");
        for word in ["case a: ", what, "--ignore-geometry"] {
            assert!(ended.stderr.contains(word), "no {word}: {ended:#?}");
        }
        let ended = pair.evaluate(&["--ignore-geometry"]).expect_success();
        assert!(ended.stderr.contains("case a: ") && ended.stderr.contains(what), "{ended:#?}");
    }
    // Elsewhere: measured, with a word.
    pair.write(&pair.predictions, "a", pair.geometry(7.0, false));
    let ended = pair.evaluate(&[]).expect_success();
    assert!(ended.stderr.contains("case a: ") && ended.stderr.contains("origin"), "{ended:#?}");
    // Another size cannot be measured at all.
    let small = Volume::filled([1, 2, 2, 2], 1);
    write_labels(&pair.predictions.join("a.nii"), &small, &Geometry::with_spacing([1.0; 3])).expect("writable");
    assert_eq!(pair.evaluate(&["--ignore-geometry"]).code, 1);
}

#[test]
fn what_cannot_be_counted_is_named() {
    let pair = Pair::new();
    pair.write(&pair.references, "b", Geometry::with_spacing([1.0; 3]));
    let ended = pair.evaluate(&[]);
    assert!(ended.code == 1 && ended.stderr.contains("case b: it was not predicted") && ended.stderr.contains("--chill"), "{ended:#?}");
    let ended = pair.evaluate(&["--chill"]).expect_success();
    assert!(ended.stderr.contains("case b: it was not predicted"), "{ended:#?}");
    fs::remove_file(pair.references.join("b.nii")).expect("there");

    pair.write(&pair.predictions, "c", Geometry::with_spacing([1.0; 3]));
    let mut labels = read_labels(&pair.bench.raw.labels(0)).expect("there").volume;
    labels.data_mut()[..5].fill(9);
    write_labels(&pair.predictions.join("a.nii"), &labels, &Geometry::with_spacing([1.0; 3])).expect("writable");
    let ended = pair.evaluate(&[]).expect_success();
    for word in ["case c: it has a prediction, but no reference", "case a: its prediction has values", "9 (5 voxels)"] {
        assert!(ended.stderr.contains(word), "no {word}: {ended:#?}");
    }
}
