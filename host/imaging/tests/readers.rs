//! NIfTI with odd headers and in every orientation, by each reader, against nnU-Net: `golden/readers/make_readers.py` wrote the files, what
//! nnU-Net's classes make of them, and what they write back.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use imaging::Volume;
use imaging::io::{Reader, write_labels};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    /// The file's bytes: zlib, then hexadecimal.
    file: String,
    /// By nnU-Net's class; those that do not open it are missing.
    read: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Expected {
    /// (C, Z, Y, X).
    shape: [usize; 4],
    /// (z, y, x).
    spacing: [f64; 3],
    /// The float32 array.
    bits: Vec<u32>,
    /// Voxels of the file that nnU-Net writes of that array.
    written: Vec<u8>,
    /// And its affine matrix without the last row.
    affine: [f64; 12],
}

/// One slice, which has no orientation to be turned from.
const FLAT: &str = "dim_2 NibabelIO";

/// Turned otherwise than nnU-Net does: two of its axes lead equally far along one of the patient's.
const AMBIGUOUS: &str = "quaternion_too_long SimpleITKIOWithReorient";

/// What both of nibabel's readers, or all four, read here, though nnU-Net's classes do not open it: the arrays are what the header means.
const FORGIVEN: [&str; 13] = [
    "dim_4_of_1 Nibabel",
    "dim_4_of_2 ",
    "dim_5_of_1 Nibabel",
    "dim_7_of_1 Nibabel",
    "intercept_nan Nibabel",
    "mark_of_version_3 Nibabel",
    "matrix_of_zeros Nibabel",
    "offset_100 Nibabel",
    "offset_348 Nibabel",
    "offset_nan Nibabel",
    "offset_negative Nibabel",
    "pixdim_nan Nibabel",
    "quaternion_too_long Nibabel",
];

const READERS: [Reader; 4] = [Reader::SimpleItk, Reader::SimpleItkReoriented, Reader::Nibabel, Reader::NibabelReoriented];

fn golden() -> BTreeMap<String, File> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/readers/readers.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let packed: Vec<u8> = (0..hexadecimal.len()).step_by(2).map(|at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap()).collect();
    let mut bytes = Vec::new();
    flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// The affine matrix of a geometry, without the last row.
fn affine(geometry: &imaging::io::Geometry) -> [f64; 12] {
    let ([z, y, x], direction, origin) = (geometry.spacing(), geometry.direction(), geometry.origin());
    std::array::from_fn(|i| match (i / 4, i % 4) {
        (row, 3) => origin[row],
        (row, column) => direction[column][row] * [x, y, z][column],
    })
}

fn close(found: &[f64], expected: &[f64], tolerance: f64) -> bool {
    found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= tolerance * (1.0 + b.abs()))
}

/// How what is read and written back differs from what nnU-Net reads and writes.
fn difference(reader: Reader, path: &Path, expected: Option<&Expected>) -> Option<String> {
    let image = match (reader.read_image(path), expected) {
        (Ok(image), Some(_)) => image,
        (Err(_), None) => return None,
        (Ok(_), None) => return Some("is read, and nnU-Net does not open it".to_owned()),
        (Err(error), Some(_)) => return Some(error.to_string()),
    };
    let expected = expected?;
    if image.volume.shape() != expected.shape {
        return Some(format!("shape {:?} and not {:?}", image.volume.shape(), expected.shape));
    }
    let found: Vec<u32> = image.volume.data().iter().map(|value| value.to_bits()).collect();
    if let Some(at) = (0..found.len()).find(|&at| found[at] != expected.bits[at]) {
        let [found, expected] = [found[at], expected.bits[at]].map(f32::from_bits);
        return Some(format!("voxel {at} is {found:?} and not {expected:?}"));
    }
    if !close(&image.geometry.spacing(), &expected.spacing, 1e-7) {
        return Some(format!("spacing {:?} and not {:?}", image.geometry.spacing(), expected.spacing));
    }
    let labels = Volume::new(expected.shape, image.volume.data().iter().map(|value| i16::from(*value as u8)).collect());
    let copy = path.with_file_name("copy.nii");
    write_labels(&copy, &labels, &image.geometry).unwrap();
    // As it lies in the file, by a reader that does not turn it.
    let plain = if matches!(reader, Reader::SimpleItkReoriented) { Reader::SimpleItk } else { Reader::Nibabel };
    let written = [plain, Reader::SimpleItk].into_iter().find_map(|plain| plain.read_labels(&copy).ok()).unwrap();
    let voxels: Vec<u8> = written.volume.data().iter().map(|label| *label as u8).collect();
    if voxels != expected.written {
        return Some(format!("writes {voxels:?} and not {:?}", expected.written));
    }
    // What is odd about a header stays in the file that is written, so the matrix that nibabel finds there says nothing.
    let has_plain_header = |name: &str| name.len() == 3 || name.starts_with("oblique");
    let found = affine(&written.geometry);
    if path.file_stem().is_some_and(|name| has_plain_header(&name.to_string_lossy())) && !close(&found, &expected.affine, 1e-5) {
        return Some(format!("writes the affine {found:?} and not {:?}", expected.affine));
    }
    let again = reader.read_labels(&copy).unwrap();
    assert_eq!(again.volume, labels);
    again.geometry.differs_from(&image.geometry)
}

#[test]
fn every_reader_opens_and_reads_what_nnunets_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut differences = Vec::new();
    for (name, file) in golden() {
        let path = folder.path().join(format!("{name}.nii"));
        fs::write(&path, bytes(&file.file)).unwrap();
        for reader in READERS {
            let expected = file.read.get(reader.name());
            let case = format!("{name} {}", reader.name());
            let forgiven = expected.is_none() && (case == FLAT || FORGIVEN.iter().any(|forgiven| case.starts_with(forgiven)));
            if forgiven {
                reader.read_image(&path).unwrap_or_else(|error| panic!("{case}: {error}"));
            } else if let Some(difference) = difference(reader, &path, expected)
                && case != AMBIGUOUS
            {
                differences.push(format!("{case}: {difference}"));
            }
        }
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
