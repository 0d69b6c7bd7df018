//! Every format against nnU-Net: `golden/io/make_io.py` wrote the files, and what nnU-Net's readers make of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imaging::io::read_image;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    read: BTreeMap<String, Expected>,
    refused: Vec<String>,
}

#[derive(Deserialize)]
struct Expected {
    shape: [usize; 4],
    /// (z, y, x).
    spacing: [f64; 3],
    /// In ITK's frame, (x, y, z); of 3D images that SimpleITK reads.
    origin: Option<[f64; 3]>,
    /// In ITK's frame, by rows.
    direction: Option<[f64; 9]>,
    /// The float32 array.
    bits: Vec<u32>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/io")
}

fn golden() -> Golden {
    serde_json::from_str(&std::fs::read_to_string(folder().join("io.json")).unwrap()).unwrap()
}

/// How what is read differs from what nnU-Net reads.
fn difference(name: &str, expected: &Expected) -> Option<String> {
    let image = match read_image(&folder().join("files").join(name)) {
        Ok(image) => image,
        Err(error) => return Some(error.to_string()),
    };
    if image.volume.shape() != expected.shape {
        return Some(format!("shape {:?} and not {:?}", image.volume.shape(), expected.shape));
    }
    let found: Vec<u32> = image.volume.data().iter().map(|value| value.to_bits()).collect();
    if let Some(at) = (0..found.len()).find(|&at| found[at] != expected.bits[at]) {
        let [found, expected] = [found[at], expected.bits[at]].map(f32::from_bits);
        return Some(format!("voxel {at} is {found:?} and not {expected:?}"));
    }
    let close = |a: &f64, b: &f64| (a - b).abs() <= 1e-14 + 1e-14 * b.abs();
    let all_close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| close(a, b));
    if !all_close(&image.geometry.spacing(), &expected.spacing) {
        return Some(format!("spacing {:?} and not {:?}", image.geometry.spacing(), expected.spacing));
    }
    let in_itk = |[x, y, z]: [f64; 3]| [-x, -y, z];
    let origin = in_itk(image.geometry.origin());
    if let Some(expected) = expected.origin.filter(|expected| !all_close(&origin, expected)) {
        return Some(format!("origin {origin:?} and not {expected:?}"));
    }
    let columns = image.geometry.direction().map(in_itk);
    let direction: [f64; 9] = std::array::from_fn(|i| columns[i % 3][i / 3]);
    // ITK computes the qform's in single precision.
    let differs = |expected: &[f64; 9]| direction.iter().zip(expected).any(|(a, b)| (a - b).abs() > 2e-7);
    if let Some(expected) = expected.direction.filter(differs) {
        return Some(format!("direction {direction:?} and not {expected:?}"));
    }
    None
}

#[test]
fn arrays_and_geometries_are_those_of_nnunet() {
    let golden = golden();
    assert!(golden.read.len() > 250, "{} files", golden.read.len());
    let differences: Vec<String> =
        (golden.read.iter()).filter_map(|(name, expected)| Some(format!("{name}: {}", difference(name, expected)?))).collect();
    assert!(differences.is_empty(), "{} of {} files differ:\n{}", differences.len(), golden.read.len(), differences.join("\n"));
}

#[test]
fn what_nnunet_cannot_read_is_refused_by_name() {
    for name in golden().refused {
        let message = read_image(&folder().join("files").join(&name)).unwrap_err().to_string();
        assert!(message.contains(&name) && !message.contains('\n'), "{message}");
    }
}
