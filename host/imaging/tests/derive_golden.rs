//! Derived targets against scipy and scikit-image; `golden/make_derive.py` made the numbers.

use imaging::derive::{DistanceScratch, SkeletonScratch, boundary, signed_distance, skeleton};
use serde::Deserialize;

#[derive(Deserialize)]
struct Record {
    name: String,
    shape: [usize; 3],
    spacing: [f64; 3],
    /// Runs: value, length, value, length.
    labels: Vec<i16>,
    /// Every so many voxels, there is a distance.
    step: usize,
    distances: Option<Vec<f32>>,
    /// Lengths of runs, the first of zeros.
    boundary: Vec<usize>,
    skeleton: Vec<usize>,
}

#[test]
fn derived_targets_equal_those_of_scipy_and_scikit_image() {
    let records: Vec<Record> = serde_json::from_str(include_str!("golden/derive.json")).expect("golden file is valid");
    assert!(!records.is_empty());
    let (mut distance_scratch, mut skeleton_scratch) = (DistanceScratch::default(), SkeletonScratch::default());
    for Record { name, shape, spacing, labels, step, distances, boundary: expected_boundary, skeleton: expected_skeleton } in records {
        let labels: Vec<i16> = labels.chunks_exact(2).flat_map(|run| vec![run[0]; run[1] as usize]).collect();
        let foreground: Vec<bool> = labels.iter().map(|label| *label > 0).collect();

        let mut found = vec![f32::NAN; labels.len()];
        let known = signed_distance(&foreground, shape, spacing, &mut found, &mut distance_scratch);
        assert_eq!(known, distances.is_some(), "{name}");
        match distances {
            None => assert!(found.iter().all(|distance| *distance == 0.0), "{name}"),
            Some(expected) => {
                assert_eq!(expected.len(), found.len().div_ceil(step), "{name}");
                let pairs = expected.iter().zip(found.iter().step_by(step));
                let difference = pairs.map(|(expected, found)| (expected - found).abs()).fold(0.0, f32::max);
                assert!(difference < 1e-4, "{name}: distances differ by {difference}");
            }
        }

        let mut found = vec![7; labels.len()];
        boundary(&labels, shape, &mut found);
        assert!(found == mask(&expected_boundary), "{name}: boundaries differ");
        skeleton(&foreground, shape, &mut found, &mut skeleton_scratch);
        assert!(found == mask(&expected_skeleton), "{name}: skeletons differ");
    }
}

fn mask(runs: &[usize]) -> Vec<i16> {
    runs.iter().zip([0, 1].into_iter().cycle()).flat_map(|(length, value)| vec![value; *length]).collect()
}
