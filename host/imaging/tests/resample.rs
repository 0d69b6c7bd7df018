//! Resampling against nnU-Net's own results (`golden/make_resample.py`, `golden/make_resample_torch.py`).

use imaging::Volume;
use imaging::resample::{Order, Rule, Vote, new_shape, resample_image, resample_labels};
use serde::Deserialize;

/// A volume, and what nnU-Net makes of it.
#[derive(Deserialize, Debug)]
struct Sample {
    kind: String,
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

impl Sample {
    /// Compares what `rule` makes of the volume at the front of `bytes` with what comes after it: label maps are equal, images nearly.
    fn check(&self, rule: Rule, bytes: &mut &[u8]) {
        let Self { kind, shape, spacing, new_spacing, new_shape } = self;
        let expected_shape = [shape[0], new_shape[0], new_shape[1], new_shape[2]];
        if kind == "labels" {
            let input = take(bytes, *shape, i16::from_le_bytes);
            let expected = take(bytes, expected_shape, i16::from_le_bytes);
            let found = resample_labels(&input, *new_shape, *spacing, *new_spacing, rule);
            let different = found.data().iter().zip(expected.data()).filter(|(a, b)| a != b).count();
            assert_eq!((found.shape(), different), (expected_shape, 0), "{rule:?}: {self:?}");
        } else {
            let input = take(bytes, *shape, f32::from_le_bytes);
            let expected = take(bytes, expected_shape, f32::from_le_bytes);
            let found = resample_image(&input, *new_shape, *spacing, *new_spacing, rule);
            let difference = found.data().iter().zip(expected.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert_eq!(found.shape(), expected_shape, "{rule:?}: {self:?}");
            assert!(difference <= 1e-4, "differs by {difference}: {rule:?}: {self:?}");
        }
    }
}

#[derive(Deserialize)]
struct Case {
    order: u8,
    order_z: u8,
    separate: Option<bool>,
    #[serde(flatten)]
    sample: Sample,
}

#[test]
fn resampling_equals_nnunet() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/resample.json")).unwrap();
    let mut bytes: &[u8] = include_bytes!("golden/resample.bin");
    for Case { order, order_z, separate, sample } in cases {
        let [_, z, y, x] = sample.shape;
        assert_eq!(new_shape([z, y, x], sample.spacing, sample.new_spacing), sample.new_shape);
        let degree = |degree| Order::from_degree(degree).unwrap();
        sample.check(Rule { order: degree(order), order_z: degree(order_z), separate, ..Rule::CUBIC }, &mut bytes);
    }
    assert!(bytes.is_empty());
}

#[derive(Deserialize)]
struct TorchCase {
    kwargs: Kwargs,
    #[serde(flatten)]
    sample: Sample,
}

#[derive(Deserialize)]
struct Kwargs {
    force_separate_z: Option<bool>,
    memefficient_seg_resampling: bool,
    separate_z_anisotropy_threshold: Option<f64>,
}

/// Of equal shares torch's argmax takes any; none of these volumes shows it.
#[test]
fn torch_resampling_equals_nnunet() {
    let cases: Vec<TorchCase> = serde_json::from_str(include_str!("golden/resample_torch.json")).unwrap();
    let mut bytes: &[u8] = include_bytes!("golden/resample_torch.bin");
    for TorchCase { kwargs, sample } in cases {
        let rule = Rule {
            separate: kwargs.force_separate_z,
            threshold: kwargs.separate_z_anisotropy_threshold.unwrap_or(Rule::TORCH.threshold),
            vote: if kwargs.memefficient_seg_resampling { Vote::Majority } else { Vote::RoundedShare },
            ..Rule::TORCH
        };
        sample.check(rule, &mut bytes);
    }
    assert!(bytes.is_empty());
}
