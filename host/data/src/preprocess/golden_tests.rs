//! Preprocessed arrays against nnU-Net's, on the small data sets of `tests/golden/preprocess` (made by `make_preprocess.py` there).

use std::collections::HashMap;
use std::path::PathBuf;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::CroppedCase;
use crate::dataset::{Dataset, SEGMENTATION};
use crate::plan::Plans;

/// nnU-Net computes means and deviations in 32 bits, we in 64.
const TOLERANCE: f32 = 1e-5;

/// What nnU-Net keeps beside the arrays of a case.
#[derive(Deserialize)]
struct Expected {
    spacing: [f64; 3],
    /// First voxel and one past the last, along every transposed axis.
    bbox: [[usize; 2]; 3],
    shape_before_cropping: [usize; 3],
    /// Sampled voxels of every class or region.
    locations: Vec<usize>,
}

/// Preprocesses every case of a data set under nnU-Net's plans. Which label wins among two with equal shares of a voxel hangs on the
/// last bit, so there, and only there, another one than nnU-Net's passes.
fn check(name: &str) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/preprocess")).join(name);
    let dataset = Dataset::open(folder.to_str().expect("UTF-8"), None).expect("valid data set");
    let plans = Plans::read(&folder.join("nnUNetPlans.json")).expect("golden file");
    let file = std::fs::read(folder.join("expected.safetensors")).expect("golden file");
    let tensors = SafeTensors::deserialize(&file).expect("golden file");
    let (_, metadata) = SafeTensors::read_metadata(&file).expect("golden file");
    let cases: HashMap<String, Expected> =
        serde_json::from_str(&metadata.metadata().as_ref().expect("golden file")["cases"]).expect("golden file");
    assert!(!cases.is_empty());
    for (key, expected) in &cases {
        let at = format!("{name}: {key}");
        let tensor = |name: &str| tensors.tensor(&format!("{key}/{name}")).expect("golden file");
        let (configuration, id) = key.split_once('/').expect("golden file");
        let configuration = plans.configuration(configuration).expect("planned");
        let case = dataset.cases.iter().find(|case| case.id == id).expect("golden file");
        let found =
            CroppedCase::read(case, &dataset, &plans).and_then(|case| case.preprocess(&plans, &configuration)).expect("preprocessed");

        let properties = &found.properties;
        let transposed = plans.transpose_forward.map(|axis| properties.shape[axis]);
        let bbox = [0, 1, 2].map(|axis| [properties.bbox.lower[axis], properties.bbox.upper[axis]]);
        assert_eq!((properties.spacing, bbox, transposed), (expected.spacing, expected.bbox, expected.shape_before_cropping), "{at}");

        let image = tensor("image");
        assert_eq!((found.image.shape().as_slice(), Dtype::F32), (image.shape(), image.dtype()), "{at}");
        for (voxel, (found, expected)) in found.image.data().iter().zip(numbers(image.data(), f32::from_le_bytes)).enumerate() {
            assert!((found - expected).abs() <= TOLERANCE, "{at}: image voxel {voxel} is {found} instead of {expected}");
        }

        let labels = &found.labels[SEGMENTATION];
        assert_eq!((labels.shape().as_slice(), Dtype::I16), (tensor("labels").shape(), tensor("labels").dtype()), "{at}");
        let tied = numbers(tensor("tied").data(), i32::from_le_bytes);
        let mut equal = true;
        for (voxel, (found, expected)) in labels.data().iter().zip(numbers(tensor("labels").data(), i16::from_le_bytes)).enumerate() {
            equal &= *found == expected;
            let excused = tied.binary_search(&(voxel as i32)).is_ok();
            assert!(*found == expected || excused, "{at}: label voxel {voxel} is {found} instead of {expected}, and no tie");
        }

        let locations = &found.locations[SEGMENTATION];
        assert_eq!(locations.len(), expected.locations.len(), "{at}");
        // They follow from the labels.
        for (class, (found, count)) in locations.iter().zip(&expected.locations).enumerate().filter(|_| equal) {
            let first = numbers(tensor(&format!("locations/{class}")).data(), i32::from_le_bytes);
            assert_eq!(found.len(), *count, "{at}: class {class}");
            assert_eq!(found.as_flattened()[..first.len()], first, "{at}: class {class}");
        }
    }
}

fn numbers<T, const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| from(*chunk)).collect()
}

#[test]
fn masked_z_score_with_transposed_axes_and_two_channels() {
    check("Dataset801_Masked");
}

#[test]
fn coarse_slices_are_resampled_apart() {
    check("Dataset802_Coarse");
}

#[test]
fn regions() {
    check("Dataset803_Regions");
}

#[test]
fn ignore_label_and_empty_images() {
    check("Dataset804_Ignored");
}

#[test]
fn colours() {
    check("Dataset805_Colours");
}
