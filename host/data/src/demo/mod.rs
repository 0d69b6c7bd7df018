//! A small synthetic data set in nnU-Net's raw format, for `host demo` and for tests: the same bytes for the same seed.
//!
//! ```text
//! seed, case number ─ phantom ─→ image, label map ─ distance ─→ distance target ─→ imagesTr, labelsTr, targetsTr, dataset.json
//! ```
//! Two organs lie in a noisy background with a bias field: the liver, a bright ellipsoid, and the kidney, a dark bean. Both
//! can be told apart under mirroring and rotation. The further targets are `distance` (mm to the surface of both, positive
//! outside, clipped) and `volume_class` (whether both together are smaller or larger than the median).

mod phantom;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imaging::Volume;
use imaging::derive::{self, DistanceScratch};
use imaging::io::{Geometry, write_atomically, write_image, write_labels};
use serde_json::json;

/// Number of training cases.
const TRAINING_CASES: usize = 24;
/// Unseen cases, in `imagesTs`, `labelsTs` and `targetsTs`.
const TEST_CASES: usize = 1;
/// (z, y, x) in mm.
const SPACING: [f64; 3] = [1.0; 3];
/// Distances are clipped here, in mm: what lies further away cannot be seen in a patch.
const DISTANCE_LIMIT: f32 = 10.0;

/// Why the data set cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be written.
    #[error(transparent)]
    Io(#[from] imaging::io::Error),
}

/// Writes the data set into `folder`, whose name should be like `Dataset999_Demo`; files that are there already are replaced.
///
/// # Errors
/// When a file cannot be written.
pub fn write_dataset(folder: &Path, seed: u64) -> Result<(), Error> {
    let cases: Vec<_> = (0..TRAINING_CASES + TEST_CASES).map(|number| phantom::generate(seed, number as u64)).collect();
    let (training, test) = cases.split_at(TRAINING_CASES);
    let mut volumes: Vec<usize> = training.iter().map(|case| organ_voxels(&case.labels)).collect();
    volumes.sort_unstable();
    let median = volumes[volumes.len() / 2];
    write_cases(folder, "Tr", training, 1, median)?;
    write_cases(folder, "Ts", test, TRAINING_CASES + 1, median)?;
    write_json(&folder.join("dataset.json"), &description())
}

/// The case of `imagesTs`.
pub fn unseen_case() -> String {
    case_id(TRAINING_CASES + 1)
}

fn case_id(number: usize) -> String {
    format!("organs_{number:03}")
}

fn description() -> serde_json::Value {
    json!({
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "liver": 1, "kidney": 2},
        "numTraining": TRAINING_CASES,
        "file_ending": ".nii.gz",
        "targets": {
            "distance": {"kind": "regression", "folder": "distance", "channels": 1, "pad": DISTANCE_LIMIT},
            "volume_class": {"kind": "class", "file": "volume_class.json", "classes": ["small", "large"]}
        }
    })
}

/// Writes the cases of one split (`Tr` or `Ts`), numbered from `first`.
fn write_cases(folder: &Path, split: &str, cases: &[phantom::Case], first: usize, median: usize) -> Result<(), Error> {
    let file = |kind: &str, name: String| -> PathBuf { folder.join(format!("{kind}{split}")).join(name) };
    let geometry = Geometry::with_spacing(SPACING);
    let mut classes = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        let id = case_id(first + index);
        write_image(&file("images", format!("{id}_0000.nii.gz")), &case.image, &geometry)?;
        write_labels(&file("labels", format!("{id}.nii.gz")), &case.labels, &geometry)?;
        let distance = signed_distance(&case.labels);
        write_image(&file("targets", format!("distance/{id}.nii.gz")), &distance, &geometry)?;
        classes.insert(id, u8::from(organ_voxels(&case.labels) >= median));
    }
    write_json(&file("targets", "volume_class.json".to_owned()), &json!(classes))
}

fn write_json(path: &Path, value: &serde_json::Value) -> Result<(), Error> {
    write_atomically(path, |writer| {
        serde_json::to_writer_pretty(&mut *writer, value)?;
        writer.write_all(b"\n")
    })?;
    Ok(())
}

fn organ_voxels(labels: &Volume<i16>) -> usize {
    labels.data().iter().filter(|label| **label > 0).count()
}

/// Distance in mm to the nearest voxel on the other side of the organs' common surface: positive outside, negative inside.
fn signed_distance(labels: &Volume<i16>) -> Volume<f32> {
    let inside: Vec<bool> = labels.data().iter().map(|label| *label > 0).collect();
    let mut distances = vec![0.0; inside.len()];
    derive::signed_distance(&inside, labels.spatial(), SPACING, &mut distances, &mut DistanceScratch::default());
    distances.iter_mut().for_each(|distance| *distance = distance.clamp(-DISTANCE_LIMIT, DISTANCE_LIMIT));
    Volume::new(labels.shape(), distances)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut pending = vec![folder.to_owned()];
        while let Some(path) = pending.pop() {
            if path.is_dir() {
                pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                found.insert(path.strip_prefix(folder).unwrap().display().to_string(), fs::read(&path).unwrap());
            }
        }
        found
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
        let folder = tempfile::tempdir().unwrap();
        let written = ["first", "again", "other"].map(|name| folder.path().join(name));
        for (path, seed) in written.iter().zip([1, 1, 2]) {
            write_dataset(path, seed).unwrap();
        }
        let [first, again, other] = written.map(|path| files(&path));
        assert!(first == again);
        assert_eq!(first.len(), 25 * 3 + 3);
        assert!(first.keys().eq(other.keys()));
        assert_ne!(first["imagesTr/organs_001_0000.nii.gz"], other["imagesTr/organs_001_0000.nii.gz"]);
        assert_eq!(first["dataset.json"], other["dataset.json"]);
    }

    #[test]
    fn the_distance_is_positive_outside_and_clipped() {
        let mut labels = Volume::filled([1, 1, 1, 20], 0);
        labels.data_mut()[..5].copy_from_slice(&[1, 1, 2, 2, 2]);
        let distance = signed_distance(&labels);
        assert_eq!(distance.data()[..7], [-5.0, -4.0, -3.0, -2.0, -1.0, 1.0, 2.0]);
        assert_eq!(distance.data()[13..], [9.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0]);
    }
}
