//! One reader for a data set: the one that opens the first image, or that somebody names.

use super::{change, expect_refused, expect_usable, on_dataset};
use data::preprocess::StoredCase;
use imaging::io::{Geometry, read_image, read_labels, write_image, write_labels};
use imaging::{BoundingBox, Volume};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tests::case::CASES;
use tests::program::Bench;

fn plans(bench: &Bench) -> Value {
    let path = bench.folder().join("preprocessed/Dataset001_Small/nnUNetPlans.json");
    serde_json::from_str(&fs::read_to_string(path).expect("planned")).expect("JSON")
}

/// Replaces the data set's files by ones with `ending`, each of which `write` makes of an image or a label map.
fn convert(bench: &Bench, ending: &str, write: impl Fn(usize, &Path, Volume<f32>)) {
    for case in 0..CASES {
        for (path, folder, channel) in [(bench.raw.image(case), "imagesTr", "_0000"), (bench.raw.labels(case), "labelsTr", "")] {
            let volume = read_image(&path).expect("there").volume;
            fs::remove_file(path).expect("there");
            write(case, &bench.raw.folder.join(folder).join(format!("case_{case:03}{channel}{ending}")), volume);
        }
    }
    bench.raw.describe(json!({"file_ending": ending}));
}

fn write(path: &Path, volume: &Volume<f32>, geometry: &Geometry) {
    if path.to_string_lossy().contains("labelsTr") {
        let labels = volume.data().iter().map(|value| *value as i16).collect();
        write_labels(path, &Volume::new(volume.shape(), labels), geometry).expect("writable");
    } else {
        write_image(path, volume, geometry).expect("writable");
    }
}

fn slices(volume: &Volume<f32>, count: usize) -> Volume<f32> {
    let [_, _, height, width] = volume.shape();
    // The middle, where there are labels.
    Volume::new([1, count, height, width], volume.data()[5 * height * width..(5 + count) * height * width].to_vec())
}

#[test]
fn stacks_of_three_and_four_slices_among_others_are_volumes() {
    let bench = Bench::new();
    let counts = [7, 3, 9, 8, 4, 5];
    convert(&bench, ".tif", |case, path, volume| {
        write(path, &slices(&volume, counts[case]), &Geometry::with_spacing([1.0; 3]));
        // As it is mostly: nothing says what the spacing is.
        fs::remove_file(path.with_extension("json")).expect("written");
    });
    expect_usable(&bench);
    assert_eq!(plans(&bench)["image_reader_writer"], "Tiff3DIO");
    // The first case decides: three slices without a spacing are colours, and the second case is no image in colours.
    let name = |case: usize, folder: &str, channel: &str| bench.raw.folder.join(folder).join(format!("case_{case:03}{channel}.tif"));
    for (folder, channel) in [("imagesTr", "_0000"), ("labelsTr", "")] {
        let [first, second] = [name(0, folder, channel), name(1, folder, channel)];
        fs::rename(&first, bench.folder().join("kept.tif")).expect("renamed");
        fs::rename(&second, &first).expect("renamed");
        fs::rename(bench.folder().join("kept.tif"), &second).expect("renamed");
    }
    bench.raw.describe(json!({"file_ending": ".tif", "channel_names": {"0": "r", "1": "g", "2": "b"}}));
    // Its label map, read in the same way, has colours, too: the plan stops at that.
    expect_refused(&bench, &["case_000.tif", "has 3 channels"]);
    let checked = on_dataset(&bench, &["dataset", "check"]).stdout;
    for words in ["case_001_0000.tif", "is a stack of 7 slices", "NaturalImage2DIO", "overwrite_image_reader_writer"] {
        assert!(checked.contains(words), "{words}: {checked}");
    }
    bench.raw.describe(json!({"file_ending": ".tif", "overwrite_image_reader_writer": "Tiff3DIO"}));
    expect_usable(&bench);
    // And so does a spacing beside it.
    bench.raw.describe(json!({"file_ending": ".tif"}));
    for folder in ["imagesTr", "labelsTr"] {
        fs::write(bench.raw.folder.join(folder).join("case_000.json"), r#"{"spacing": [1, 1, 1]}"#).expect("writable");
    }
    expect_usable(&bench);
}

/// Puts 32-bit numbers into a NIfTI-1 file, which may be compressed.
fn patch(path: &Path, changes: &[(usize, &[u8])]) {
    use std::io::{Read, Write};
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(path).expect("there")).read_to_end(&mut bytes).expect("gzip");
    for (at, change) in changes {
        bytes[*at..at + change.len()].copy_from_slice(change);
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&bytes).expect("memory");
    fs::write(path, packed.finish().expect("memory")).expect("writable");
}

/// In a NIfTI-1 header: the second number of the first row of the matrix, the unit of space.
const SHEAR: usize = 284;
const UNIT: usize = 123;

#[test]
fn a_sheared_first_image_makes_nibabel_the_reader() {
    let bench = Bench::new();
    convert(&bench, ".nii.gz", |case, path, volume| {
        write(path, &volume, &Geometry::with_spacing([1.0; 3]));
        if case == 0 {
            patch(path, &[(SHEAR, &0.25f32.to_le_bytes())]);
        }
        // nibabel does not look at units.
        patch(path, &[(UNIT, &[1])]);
    });
    expect_usable(&bench);
    let plans = plans(&bench);
    assert_eq!(plans["image_reader_writer"], "NibabelIO");
    assert_eq!(plans["original_median_spacing_after_transp"], json!([1.0, 1.0, 1.0]));
}

#[test]
fn an_image_that_the_reader_does_not_open_is_refused_by_all_commands() {
    let bench = Bench::new();
    convert(&bench, ".nii.gz", |case, path, volume| {
        write(path, &volume, &Geometry::with_spacing([1.0; 3]));
        if case == 2 {
            patch(path, &[(SHEAR, &0.25f32.to_le_bytes())]);
        }
    });
    let words = ["case_002", "not at right angles", "SimpleITKIO", "(case case_002)", "overwrite_image_reader_writer"];
    expect_refused(&bench, &words);
    on_dataset(&bench, &["fingerprint"]).expect_failure(&words);
    bench.raw.describe(json!({"file_ending": ".nii.gz", "overwrite_image_reader_writer": "NibabelIO"}));
    expect_usable(&bench);
    // A name that nobody knows is told, and the first image decides.
    bench.raw.describe(json!({"file_ending": ".nii.gz", "overwrite_image_reader_writer": "NibableIO"}));
    let ended = on_dataset(&bench, &["fingerprint", "--overwrite"]);
    assert!(ended.stderr.contains("did you mean \"NibabelIO\"?") && ended.code == 1, "{ended:#?}");
}

#[test]
fn images_that_are_turned_when_they_are_read_make_the_same_arrays() {
    let bench = Bench::new();
    bench.raw.describe(json!({"overwrite_image_reader_writer": "NibabelIOWithReorient"}));
    on_dataset(&bench, &["plan-and-preprocess"]).expect_success();
    let stored = |bench: &Bench| -> Vec<(Volume<f32>, Volume<i16>)> {
        let stores = bench.stores("nnUNetPlans_3d_fullres");
        assert_eq!(stores.len(), 1, "{stores:?}");
        let read = |case: usize| {
            let case = StoredCase::open(&stores[0].join(format!("case_{case:03}.zarr.zip"))).expect("preprocessed");
            let whole = BoundingBox::whole(case.spatial());
            let [z, y, x] = case.spatial();
            let mut labels = Volume::new([1, z, y, x], vec![0; z * y * x]);
            assert!(case.read_labels("segmentation", &whole, &mut labels).expect("readable"), "no labels");
            (case.image(&whole).expect("readable"), labels)
        };
        (0..CASES).map(read).collect()
    };
    let plain = stored(&bench);
    // Axes x and y change places, and z runs down: the same patient, scanned otherwise.
    for case in 0..CASES {
        for path in [bench.raw.image(case), bench.raw.labels(case)] {
            let mut turned = read_image(&path).expect("there").volume.transpose([0, 2, 1]);
            turned.flip([true, false, false]);
            let depth = turned.spatial()[0] as f32 - 1.0;
            write(&path, &turned, &Geometry::with_spacing([1.0; 3]));
            let mut bytes = fs::read(&path).expect("written");
            let matrix: [f32; 12] = [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, depth];
            bytes[280..328].copy_from_slice(&matrix.map(f32::to_le_bytes).concat());
            fs::write(&path, bytes).expect("writable");
        }
    }
    fs::remove_dir_all(bench.folder().join("preprocessed")).expect("there");
    on_dataset(&bench, &["plan-and-preprocess"]).expect_success();
    assert!(stored(&bench) == plain, "the same patient makes other arrays");
    let labels = read_labels(&bench.raw.labels(1)).expect("there").volume;
    assert_ne!(labels.shape()[2], labels.shape()[3], "the turn shows");
    change(&bench.folder().join("preprocessed/Dataset001_Small/nnUNetPlans.json"), |json| json["image_reader_writer"] = json!("MyReader"));
    on_dataset(&bench, &["preprocess"]).expect_failure(&["MyReader", "NibabelIOWithReorient"]);
}
