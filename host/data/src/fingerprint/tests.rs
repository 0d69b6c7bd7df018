//! Against what nnU-Net writes: of tiny data sets made up for it (`tests/golden/make_fingerprint.py`), and of Hippocampus.

use imaging::Volume;
use imaging::io::{Geometry, write_image, write_labels};
use safetensors::SafeTensors;
use serde_json::json;

use super::*;

const GOLDEN: &[u8] = include_bytes!("../../../../tests/golden/fingerprint.safetensors");
const HIPPOCAMPUS: &str = include_str!("../../../../tests/golden/hippocampus_fingerprint.json");

#[derive(Deserialize)]
struct Golden {
    draws: usize,
    datasets: IndexMap<String, Fingerprint>,
}

fn golden() -> Golden {
    let (_, metadata) = SafeTensors::read_metadata(GOLDEN).expect("safetensors");
    let metadata = metadata.metadata().clone().expect("metadata");
    serde_json::from_str(&metadata["fingerprint"]).expect("JSON")
}

/// Writes the case's image and label map where [`Dataset::open`] looks for them; labels can be overridden.
fn write_case(folder: &Path, tensors: &SafeTensors, name: &str, spacing: [f64; 3], labels: Option<i16>) {
    let [image, map] = ["image", "labels"].map(|part| tensors.tensor(&format!("{name}.{part}")).expect("there"));
    let [channels, depth, height, width] = image.shape().try_into().expect("four axes");
    let values: Vec<f32> = image.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let (_, case) = name.split_once('.').expect("data set and case");
    let geometry = Geometry::with_spacing(spacing);
    for (channel, values) in values.chunks_exact(depth * height * width).enumerate() {
        let volume = Volume::new([1, depth, height, width], values.to_vec());
        write_image(&folder.join(format!("imagesTr/case{case}_{channel:04}.nii.gz")), &volume, &geometry).expect("written");
    }
    assert_eq!(values.len(), channels * depth * height * width);
    let map = map.data().iter().map(|label| labels.unwrap_or(i16::from(*label))).collect();
    write_labels(&folder.join(format!("labelsTr/case{case}.nii.gz")), &Volume::new([1, depth, height, width], map), &geometry)
        .expect("written");
}

/// The golden data set `name` as files; `labels` in place of its labels.
fn dataset(name: &str, expected: &Fingerprint, labels: Option<i16>) -> (tempfile::TempDir, Dataset) {
    let folder = tempfile::tempdir().expect("temporary folder");
    for sub in ["imagesTr", "labelsTr"] {
        std::fs::create_dir(folder.path().join(sub)).expect("folder");
    }
    let channels: IndexMap<&String, &str> = expected.foreground_intensity_properties_per_channel.keys().map(|c| (c, "MRI")).collect();
    let description = json!({
        "channel_names": channels, "labels": {"background": 0, "a": 1, "b": 2},
        "numTraining": expected.spacings.len(), "file_ending": ".nii.gz",
    });
    std::fs::write(folder.path().join("dataset.json"), description.to_string()).expect("written");
    let tensors = SafeTensors::deserialize(GOLDEN).expect("safetensors");
    for (case, spacing) in expected.spacings.iter().enumerate() {
        write_case(folder.path(), &tensors, &format!("{name}.{case}"), *spacing, labels);
    }
    let dataset = Dataset::open(folder.path().to_str().expect("UTF-8"), None).expect("valid");
    (folder, dataset)
}

fn assert_agree(name: &str, found: &Fingerprint, expected: &Fingerprint) {
    assert_eq!(found.shapes_after_crop, expected.shapes_after_crop, "{name}");
    assert_eq!(found.spacings, expected.spacings, "{name}");
    assert_eq!(found.median_relative_size_after_cropping, expected.median_relative_size_after_cropping, "{name}");
    let [found, expected] = [found, expected].map(|f| &f.foreground_intensity_properties_per_channel);
    assert!(found.keys().eq(expected.keys()), "{name}");
    for (channel, (found, expected)) in found.values().zip(expected.values()).enumerate() {
        let exact = |p: &IntensityProperties| [p.min, p.max, p.percentile_00_5, p.median, p.percentile_99_5];
        assert_eq!(exact(found), exact(expected), "{name}, channel {channel}");
        // numpy adds up 32-bit floats.
        let std = expected.std;
        assert!((found.std - std).abs() <= 1e-6 * std, "{name}, channel {channel}: std {} instead of {std}", found.std);
        let scale = expected.mean.abs().max(0.1 * std);
        assert!((found.mean - expected.mean).abs() <= 1e-6 * scale, "{name}, channel {channel}: mean {found:?} instead of {expected:?}");
    }
}

#[test]
fn tiny_data_sets_agree_with_nnunet() {
    let Golden { draws, datasets } = golden();
    assert!(datasets.len() >= 7);
    for (name, expected) in &datasets {
        let (_folder, dataset) = dataset(name, expected, None);
        let found = extract_from(&dataset, draws, 2, &|_| {}).expect(name);
        assert_agree(name, &found, expected);
    }
}

#[test]
fn without_any_foreground_labels_are_named() {
    let expected = &golden().datasets["integers"];
    let (_folder, dataset) = dataset("integers", expected, Some(0));
    let error = extract_from(&dataset, 100, 2, &|_| {}).expect_err("no foreground");
    assert!(matches!(error, Error::NoForeground { .. }) && error.to_string().contains("check labelsTr"), "{error}");
}

#[test]
fn nnunets_fingerprint_survives_reading_and_writing() {
    let fingerprint: Fingerprint = serde_json::from_str(HIPPOCAMPUS).expect("golden file");
    assert_eq!(fingerprint.spacings.len(), 200);
    let folder = tempfile::tempdir().expect("temporary folder");
    let path = folder.path().join("dataset_fingerprint.json");
    fingerprint.write(&path).expect("written");
    assert_eq!(std::fs::read_to_string(path).expect("UTF-8"), HIPPOCAMPUS.trim_end());
}

#[test]
#[ignore = "needs ../shared/data/Dataset004_Hippocampus: cargo test -p data hippocampus_agrees -- --ignored"]
fn hippocampus_agrees_with_nnunet() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/Dataset004_Hippocampus");
    let expected: Fingerprint = serde_json::from_str(HIPPOCAMPUS).expect("golden file");
    let dataset = Dataset::open(folder, None).expect("the data set lies beside the clone");
    let found = extract(&dataset, 2, &|_| {}).expect("extracted");
    assert_agree("Hippocampus", &found, &expected);
}
