//! Label maps that other programs have saved again.

use super::{expect_refused, expect_usable, on_dataset};
use imaging::io::read_labels;
use std::fs;
use std::path::Path;
use tests::case::CASES;
use tests::program::Bench;

/// Where a NIfTI-1 header has its slope, and where the voxels begin in the files of this program.
const SLOPE: usize = 112;
const VOXELS: usize = 352;

/// Stores the labels of a `.nii` with 8 unsigned bits as `factor` times as much, and a slope that makes up for that.
fn scale(path: &Path, factor: u8, slope: f32) {
    let mut bytes = fs::read(path).expect("there");
    bytes[SLOPE..SLOPE + 4].copy_from_slice(&slope.to_le_bytes());
    bytes[VOXELS..].iter_mut().for_each(|voxel| *voxel *= factor);
    fs::write(path, bytes).expect("writable");
}

#[test]
fn a_slope_that_is_exact_to_32_bits_makes_labels() {
    let bench = Bench::new();
    let plain: Vec<_> = (0..CASES).map(|case| read_labels(&bench.raw.labels(case)).expect("there").volume).collect();
    for case in 0..CASES {
        let factor = [127, 100, 93, 100, 127, 3][case];
        scale(&bench.raw.labels(case), factor, 1.0 / f32::from(factor));
        assert_eq!(read_labels(&bench.raw.labels(case)).expect("labels").volume, plain[case], "{factor}");
    }
    expect_usable(&bench);
    let labels = bench.raw.folder.join("labelsTr");
    let labels = labels.to_str().expect("UTF-8");
    let description = bench.raw.folder.join("dataset.json");
    let evaluated =
        bench.run(&["evaluate", labels, labels, "--dataset-json", description.to_str().expect("UTF-8"), "--output", "measured"]);
    assert!(evaluated.expect_success().stdout.contains("1.0000"));
}

#[test]
fn a_slope_that_is_not_is_named() {
    let bench = Bench::new();
    scale(&bench.raw.labels(1), 100, 0.0101);
    expect_refused(&bench, &["case_001.nii", "scl_slope 0.01009", "save the label map as integers"]);
}

#[test]
fn a_mask_of_255_is_told_what_to_write() {
    let bench = Bench::new();
    bench.raw.relabel(2, |mut labels| {
        labels.data_mut().iter_mut().for_each(|label| *label = if *label > 0 { 255 } else { 0 });
        labels
    });
    expect_refused(&bench, &["case_002.nii", "255", "write 1 for 255"]);
}

#[test]
fn label_maps_without_foreground_are_nothing_to_plan_by() {
    let bench = Bench::new();
    for case in 0..CASES {
        bench.raw.relabel(case, |labels| imaging::Volume::filled(labels.shape(), 0));
    }
    expect_refused(&bench, &["labelsTr", "no label map has a foreground voxel"]);
}

#[test]
fn colours_that_are_none_are_found_before_preprocessing() {
    let bench = Bench::new();
    bench.raw.describe(serde_json::json!({"channel_names": {"0": "rgb_to_0_1"}}));
    // The bright ball is at 200 and more.
    let image = imaging::io::read_image(&bench.raw.image(3)).expect("there");
    let mut brighter = image.volume;
    brighter.data_mut()[0] = 256.0;
    imaging::io::write_image(&bench.raw.image(3), &brighter, &image.geometry).expect("writable");
    expect_refused(&bench, &["case_003_0000.nii", "found 256", "RGBTo01Normalization"]);
    let preprocessed = on_dataset(&bench, &["preprocess"]);
    assert_eq!(preprocessed.code, 1, "{preprocessed:#?}");
}
