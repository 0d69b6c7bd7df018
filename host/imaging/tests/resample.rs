//! Resampling against nnU-Net's own results (`golden/make_resample.py`, `golden/make_resample_torch.py`).

use imaging::Volume;
use imaging::resample::{Order, Rule, Vote, new_shape, resample_image, resample_labels};
use serde::Deserialize;

#[derive(Deserialize, Debug)]
struct Case {
    kind: String,
    order: u8,
    order_z: u8,
    separate: Option<bool>,
    shape: [usize; 4],
    spacing: [f64; 3],
    new_spacing: [f64; 3],
    new_shape: [usize; 3],
}

/// Takes the next volume of `shape` off the front of `bytes`.
fn take<T: Copy, const SIZE: usize>(bytes: &mut &[u8], shape: [usize; 4], from_bytes: impl Fn([u8; SIZE]) -> T) -> Volume<T> {
    let (volume, rest) = bytes.split_at(shape.iter().product::<usize>() * SIZE);
    *bytes = rest;
    let (values, []) = volume.as_chunks() else { unreachable!("split at a multiple of SIZE") };
    Volume::new(shape, values.iter().map(|&value| from_bytes(value)).collect())
}

#[test]
fn resampling_equals_nnunet() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/resample.json")).unwrap();
    let mut bytes: &[u8] = include_bytes!("golden/resample.bin");
    for case in &cases {
        assert_eq!(new_shape([case.shape[1], case.shape[2], case.shape[3]], case.spacing, case.new_spacing), case.new_shape);
        let order = |degree| Order::from_degree(degree).unwrap();
        let rule = Rule { order: order(case.order), order_z: order(case.order_z), separate: case.separate, ..Rule::CUBIC };
        let expected_shape = [case.shape[0], case.new_shape[0], case.new_shape[1], case.new_shape[2]];
        if case.kind == "labels" {
            let input = take(&mut bytes, case.shape, i16::from_le_bytes);
            let expected = take(&mut bytes, expected_shape, i16::from_le_bytes);
            let found = resample_labels(&input, case.new_shape, case.spacing, case.new_spacing, rule);
            let different = found.data().iter().zip(expected.data()).filter(|(a, b)| a != b).count();
            assert_eq!((found.shape(), different), (expected_shape, 0), "{case:?}");
        } else {
            let input = take(&mut bytes, case.shape, f32::from_le_bytes);
            let expected = take(&mut bytes, expected_shape, f32::from_le_bytes);
            let found = resample_image(&input, case.new_shape, case.spacing, case.new_spacing, rule);
            let difference = found.data().iter().zip(expected.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert_eq!(found.shape(), expected_shape, "{case:?}");
            assert!(difference <= 1e-4, "differs by {difference}: {case:?}");
        }
    }
    assert!(bytes.is_empty());
}

#[derive(Deserialize, Debug)]
struct TorchCase {
    kind: String,
    kwargs: Kwargs,
    shape: [usize; 4],
    spacing: [f64; 3],
    new_spacing: [f64; 3],
    new_shape: [usize; 3],
}

#[derive(Deserialize, Debug)]
struct Kwargs {
    force_separate_z: Option<bool>,
    memefficient_seg_resampling: bool,
    separate_z_anisotropy_threshold: Option<f64>,
}

#[test]
fn torch_resampling_equals_nnunet() {
    let cases: Vec<TorchCase> = serde_json::from_str(include_str!("golden/resample_torch.json")).unwrap();
    let mut bytes: &[u8] = include_bytes!("golden/resample_torch.bin");
    let (mut voxels, mut different) = (0, 0);
    for case in &cases {
        let kwargs = &case.kwargs;
        let rule = Rule {
            separate: kwargs.force_separate_z,
            threshold: kwargs.separate_z_anisotropy_threshold.unwrap_or(Rule::TORCH.threshold),
            vote: if kwargs.memefficient_seg_resampling { Vote::Majority } else { Vote::RoundedShare },
            ..Rule::TORCH
        };
        let expected_shape = [case.shape[0], case.new_shape[0], case.new_shape[1], case.new_shape[2]];
        if case.kind == "labels" {
            let input = take(&mut bytes, case.shape, i16::from_le_bytes);
            let expected = take(&mut bytes, expected_shape, i16::from_le_bytes);
            let found = resample_labels(&input, case.new_shape, case.spacing, case.new_spacing, rule);
            assert_eq!(found.shape(), expected_shape, "{case:?}");
            voxels += found.data().len();
            different += found.data().iter().zip(expected.data()).filter(|(a, b)| a != b).count();
        } else {
            let input = take(&mut bytes, case.shape, f32::from_le_bytes);
            let expected = take(&mut bytes, expected_shape, f32::from_le_bytes);
            let found = resample_image(&input, case.new_shape, case.spacing, case.new_spacing, rule);
            let difference = found.data().iter().zip(expected.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert_eq!(found.shape(), expected_shape, "{case:?}");
            assert!(difference <= 1e-4, "differs by {difference}: {case:?}");
        }
    }
    assert!(bytes.is_empty());
    // Of equal shares torch's argmax takes any; none of these volumes shows it.
    assert_eq!(different, 0, "of {voxels} labels");
}
