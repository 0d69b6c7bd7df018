//! Label maps of logits: against nnU-Net's own (`golden/make_export.py`), and against `resample_image` on random volumes.

use imaging::Volume;
use imaging::resample::{Order, Rule, new_shape, resample_argmax, resample_image, resample_regions};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use serde::Deserialize;

#[derive(Deserialize, Debug)]
struct Case {
    order: u8,
    order_z: u8,
    separate: Option<bool>,
    shape: [usize; 4],
    spacing: [f64; 3],
    new_spacing: [f64; 3],
    new_shape: [usize; 3],
    regions: Option<Vec<i16>>,
    ties: Vec<usize>,
}

#[test]
fn exported_labels_are_those_of_nnunet_but_for_ties() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("golden/export.json")).unwrap();
    let mut bytes: &[u8] = include_bytes!("golden/export.bin");
    for case in &cases {
        let logits: Vec<f32> = take(&mut bytes, case.shape.iter().product(), f32::from_le_bytes);
        let expected: Vec<i16> = take(&mut bytes, case.new_shape.iter().product(), i16::from_le_bytes);
        let logits = Volume::new(case.shape, logits);
        assert_eq!(new_shape(logits.spatial(), case.spacing, case.new_spacing), case.new_shape);
        let order = |degree| Order::from_degree(degree).unwrap();
        let rule = Rule { order: order(case.order), order_z: order(case.order_z), separate: case.separate, ..Rule::CUBIC };
        let found = match &case.regions {
            Some(order) => resample_regions(logits.view(), case.new_shape, case.spacing, case.new_spacing, rule, order, 2),
            None => {
                let values = labels(logits.channels());
                resample_argmax(logits.view(), case.new_shape, case.spacing, case.new_spacing, rule, &values, 2)
            }
        };
        assert_eq!((found.channels(), found.spatial()), (1, case.new_shape));
        let different = (0..expected.len()).filter(|&voxel| found.data()[voxel] != expected[voxel]);
        let wrong: Vec<usize> = different.filter(|voxel| !case.ties.contains(voxel)).collect();
        assert!(wrong.is_empty(), "{} voxels differ and are no ties, {wrong:?}: {case:?}", wrong.len());
    }
    assert!(bytes.is_empty());
}

/// Takes the next `count` values off the front of `bytes`.
fn take<T, const SIZE: usize>(bytes: &mut &[u8], count: usize, from_bytes: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    let (values, rest) = bytes.split_at(count * SIZE);
    *bytes = rest;
    let (values, []) = values.as_chunks() else { unreachable!("split at a multiple of SIZE") };
    values.iter().map(|&value| from_bytes(value)).collect()
}

/// Class `i` gets label `i`.
fn labels(classes: usize) -> Vec<i16> {
    (0..classes as i16).collect()
}

fn config() -> Config {
    Config { cases: 512, failure_persistence: None, rng_seed: RngSeed::Fixed(5), ..Config::default() }
}

fn logits(value: impl Strategy<Value = f32> + Clone) -> impl Strategy<Value = Volume<f32>> {
    (1..5usize, 1..7usize, 1..9usize, prop_oneof![1..9usize, 30..70usize]).prop_flat_map(move |(classes, z, y, x)| {
        prop::collection::vec(value.clone(), classes * z * y * x).prop_map(move |data| Volume::new([classes, z, y, x], data))
    })
}

/// Small shapes for the most part, and now and then one of many tiles.
fn new_shapes() -> impl Strategy<Value = [usize; 3]> {
    let small = (1..12usize, 1..12usize, prop_oneof![1..12usize, 20..90usize]);
    let large = (1..12usize, 30..50usize, 800..1200usize);
    prop_oneof![19 => small, 1 => large].prop_map(<[usize; 3]>::from)
}

fn spacing() -> impl Strategy<Value = [f64; 3]> {
    prop::array::uniform3(prop_oneof![Just(1.0), 0.5..6.0f64])
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![1 => Just(Order::Nearest), 4 => Just(Order::Linear), 1 => Just(Order::Cubic)]
}

fn rule() -> impl Strategy<Value = Rule> {
    (order(), order(), any::<Option<bool>>()).prop_map(|(order, order_z, separate)| Rule { order, order_z, separate, ..Rule::CUBIC })
}

/// The first class with the largest value, voxel by voxel.
fn argmax(values: &Volume<f32>) -> Vec<i16> {
    let largest = |voxel: usize| {
        let mut best = 0;
        for class in 1..values.channels() {
            if values.channel(class)[voxel] > values.channel(best)[voxel] {
                best = class;
            }
        }
        best as i16
    };
    (0..values.channel(0).len()).map(largest).collect()
}

/// What the order of the axes may change about a value, in 32 bits.
const ROUNDING: f32 = 2e-5;

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_winner_is_the_largest_of_the_resampled_classes(
        logits in logits(-10.0..10.0f32), new_shape in new_shapes(), spacing in spacing(), new_spacing in spacing(), rule in rule(), threads in 1..4usize,
    ) {
        let found = resample_argmax(logits.view(), new_shape, spacing, new_spacing, rule, &labels(logits.channels()), threads);
        let resampled = resample_image(&logits, new_shape, spacing, new_spacing, rule);
        prop_assert_eq!(found.shape(), [1, new_shape[0], new_shape[1], new_shape[2]]);
        for (voxel, (&found, expected)) in found.data().iter().zip(argmax(&resampled)).enumerate() {
            let value = |class: i16| resampled.channel(class as usize)[voxel];
            prop_assert!(value(found) >= value(expected) - ROUNDING, "{found} for {expected} at {voxel}");
        }
    }

    #[test]
    fn of_equal_logits_the_first_class_wins(
        whole in logits((-2..3i8).prop_map(f32::from)), factors in prop::array::uniform3(1..3usize), spacing in spacing(), threads in 1..4usize,
    ) {
        // Doubled, all weights are quarters, so that nothing is rounded.
        let shape = whole.spatial();
        let new_shape = std::array::from_fn(|axis| shape[axis] * factors[axis]);
        let found = resample_argmax(whole.view(), new_shape, spacing, spacing, Rule::LINEAR, &labels(whole.channels()), threads);
        let expected = argmax(&resample_image(&whole, new_shape, spacing, spacing, Rule::LINEAR));
        prop_assert_eq!(found.data(), expected);
    }

    #[test]
    fn a_region_covers_those_before_it_where_it_is_positive(
        logits in logits(-10.0..10.0f32), new_shape in new_shapes(), spacing in spacing(), new_spacing in spacing(), rule in rule(), threads in 1..4usize,
    ) {
        let order: Vec<i16> = [7, 3, 5, 2][..logits.channels()].to_vec();
        let found = resample_regions(logits.view(), new_shape, spacing, new_spacing, rule, &order, threads);
        let resampled = resample_image(&logits, new_shape, spacing, new_spacing, rule);
        for (voxel, &found) in found.data().iter().enumerate() {
            let values = (0..order.len()).map(|region| resampled.channel(region)[voxel]);
            if values.clone().all(|value| value.abs() > ROUNDING) {
                let last = values.enumerate().rfind(|(_, value)| *value > 0.0);
                prop_assert_eq!(found, last.map_or(0, |(region, _)| order[region]));
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing(
        logits in logits(-10.0..10.0f32), new_shape in new_shapes(), spacing in spacing(), new_spacing in spacing(), rule in rule(), threads in 0..9usize,
    ) {
        let values = labels(logits.channels());
        let export = |threads| resample_argmax(logits.view(), new_shape, spacing, new_spacing, rule, &values, threads);
        prop_assert_eq!(export(threads), export(1));
    }
}
