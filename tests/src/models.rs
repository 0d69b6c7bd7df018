//! nnU-Net's models of `tests/golden/models`, and what nnU-Net predicts with them.

use crate::artifact::root;
use flate2::read::DeflateDecoder;
use imaging::io::read_labels;
use rawzip::{CompressionMethod, ZipArchive};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// One model.
#[derive(Debug, Deserialize)]
pub struct GoldenModel {
    /// Preprocessed images by case.
    pub preprocessed: BTreeMap<String, PathBuf>,
    /// What was predicted with it.
    pub predictions: Vec<GoldenPrediction>,
}

/// A prediction of nnU-Net.
#[derive(Debug, Deserialize)]
pub struct GoldenPrediction {
    /// Folds that were averaged.
    pub folds: Vec<usize>,
    /// Whether mirror images were.
    pub mirroring: bool,
    /// Label maps by case.
    pub labels: BTreeMap<String, PathBuf>,
    /// Probabilities by case.
    pub probabilities: BTreeMap<String, PathBuf>,
    /// Logits on the preprocessed grid by case.
    pub logits: BTreeMap<String, PathBuf>,
}

/// How far label maps are from nnU-Net's.
#[derive(Clone, Copy, Debug)]
pub struct Agreement {
    /// Voxels with another label.
    pub differ: usize,
    /// All voxels.
    pub voxels: usize,
    /// Mean Dice of the two over cases and labels.
    pub dice: f64,
}

#[derive(Deserialize)]
struct All {
    models: BTreeMap<String, GoldenModel>,
}

impl GoldenModel {
    /// All of them by name.
    pub fn all() -> BTreeMap<String, Self> {
        let text = fs::read_to_string(folder().join("models.json")).expect("there");
        serde_json::from_str::<All>(&text).expect("as make_models.py writes it").models
    }
}

impl GoldenPrediction {
    /// What `host predict` has to be told for the same.
    pub fn arguments(&self) -> [String; 4] {
        let folds: Vec<String> = self.folds.iter().map(ToString::to_string).collect();
        ["--folds".to_owned(), folds.join(","), "--tta".to_owned(), if self.mirroring { "on" } else { "off" }.to_owned()]
    }
}

/// Where they are.
pub fn folder() -> PathBuf {
    root().join("tests/golden/models")
}

/// Copies the golden model `name` to `parent`, to be changed there.
pub fn copy_to(name: &str, parent: &Path) -> PathBuf {
    let own = parent.join(name);
    copy(&folder().join(name), &own);
    own
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for file in fs::read_dir(from).expect("there").flatten() {
        let target = to.join(file.file_name());
        if file.path().is_dir() {
            copy(&file.path(), &target);
        } else {
            fs::copy(file.path(), target).expect("copied");
        }
    }
}

/// Compares nnU-Net's label maps, of which there must be one, with those of the same names in `ours`.
pub fn compare(ours: &Path, theirs: &[PathBuf]) -> Agreement {
    let (mut differ, mut voxels, mut dice) = (0, 0, Vec::new());
    for path in theirs {
        let read = |path: &Path| read_labels(path).unwrap_or_else(|e| panic!("{e}")).volume;
        let (ours, theirs) = (read(&ours.join(path.file_name().expect("a name"))), read(path));
        assert_eq!(ours.shape(), theirs.shape(), "{}", path.display());
        let pairs = || ours.data().iter().zip(theirs.data());
        differ += pairs().filter(|(a, b)| a != b).count();
        voxels += theirs.data().len();
        for label in 1..=*theirs.data().iter().max().expect("voxels") {
            let both = 2 * pairs().filter(|(a, b)| **a == label && **b == label).count();
            let each = pairs().map(|(a, b)| usize::from(*a == label) + usize::from(*b == label)).sum::<usize>();
            dice.extend((each > 0).then(|| both as f64 / each as f64));
        }
    }
    assert!(!dice.is_empty(), "nnU-Net predicts nothing but background");
    Agreement { differ, voxels, dice: dice.iter().sum::<f64>() / dice.len() as f64 }
}

/// Shape and numbers of a float32 array of numpy's.
pub fn read_npz(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).expect("there");
    let archive = ZipArchive::from_slice(&bytes).expect("a ZIP file");
    let wanted = format!("{name}.npy");
    let entry = archive.entries().map(|entry| entry.expect("readable")).find(|entry| entry.file_path().as_ref() == wanted.as_bytes());
    let entry = entry.unwrap_or_else(|| panic!("{} has no {wanted}", path.display()));
    let data = archive.get_entry(entry.wayfinder()).expect("readable");
    let mut array = Vec::new();
    match entry.compression_method() {
        CompressionMethod::STORE => array.extend_from_slice(data.data()),
        _ => drop(data.verifying_reader(DeflateDecoder::new(data.data())).read_to_end(&mut array).expect("inflates")),
    }
    let length = usize::from(u16::from_le_bytes([array[8], array[9]]));
    let header = std::str::from_utf8(&array[10..10 + length]).expect("text");
    assert!(header.contains("'<f4'") && header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).expect("a shape").0;
    let shape = shape.split(',').filter_map(|size| size.trim().parse().ok()).collect();
    (shape, array[10 + length..].as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
