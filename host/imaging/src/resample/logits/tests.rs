use super::*;
use crate::resample::Order;

const PLACE: [f64; 3] = [1.0; 3];
const VALUES: [i16; 3] = [0, 10, 20];

fn row(classes: usize, data: Vec<f32>) -> Volume<f32> {
    Volume::new([classes, 1, 1, data.len() / classes], data)
}

fn argmax(logits: &Volume<f32>, width: usize) -> Vec<i16> {
    let values = &VALUES[..logits.channels()];
    resample_argmax(logits.view(), [1, 1, width], PLACE, PLACE, Rule::LINEAR, values, 1).into_data()
}

fn regions(logits: &Volume<f32>, width: usize, order: &[i16]) -> Vec<i16> {
    resample_regions(logits.view(), [1, 1, width], PLACE, PLACE, Rule::LINEAR, order, 1).into_data()
}

#[test]
fn classes_meet_where_their_resampled_logits_do() {
    // Class 1 leads by -1, 1: they meet half-way, where the first class stays.
    let logits = row(2, vec![0.0, 0.0, -1.0, 1.0]);
    assert_eq!(argmax(&logits, 2), [0, 10]);
    assert_eq!(argmax(&logits, 8), [0, 0, 0, 0, 10, 10, 10, 10]);
    assert_eq!(argmax(&logits, 1), [0]);
}

#[test]
fn of_equal_logits_the_first_wins() {
    assert_eq!(argmax(&row(3, vec![1.0, 2.0, 1.0, 3.0, 1.0, 3.0]), 2), [0, 10]);
}

#[test]
fn nan_never_wins_and_where_all_are_nan_the_first_class_stands() {
    let nan = f32::NAN;
    let logits = row(3, vec![nan, 1.0, nan, -5.0, nan, nan, -6.0, 2.0, nan]);
    assert_eq!(argmax(&logits, 3), [10, 20, 0]);
    assert_eq!(regions(&logits, 3, &VALUES), [0, 20, 0]);
    // Between a number and NaN lies NaN.
    assert_eq!(argmax(&row(2, vec![1.0, 1.0, 2.0, nan]), 4), [10, 0, 0, 0]);
}

#[test]
fn a_class_that_is_ruled_out_with_infinity_does_not_win() {
    let never = f32::NEG_INFINITY;
    assert_eq!(argmax(&row(3, vec![never, never, -3.0, -4.0, never, -2.0]), 2), [10, 20]);
    assert_eq!(argmax(&row(2, vec![never, never, -3.0, -4.0]), 5), [10; 5]);
    assert_eq!(argmax(&row(2, vec![never; 4]), 2), [0, 0]);
}

#[test]
fn regions_are_painted_in_order_where_they_are_above_zero() {
    let logits = row(3, vec![1.0, 1.0, 1.0, -1.0, 0.5, -1.0, 1.0, 0.0, -9.0, 1.0, -1.0, -1.0]);
    assert_eq!(regions(&logits, 4, &[3, 1, 2]), [1, 2, 1, 0]);
    assert_eq!(regions(&row(1, vec![-1.0, 1.0]), 8, &[4]), [0, 0, 0, 0, 4, 4, 4, 4]);
}

#[test]
fn planes_of_the_separate_axis_are_repeated() {
    let logits = Volume::new([2, 2, 1, 2], vec![0.0, 0.0, 0.0, 0.0, 1.0, -1.0, -1.0, 1.0]);
    let long_z = [5.0, 1.0, 1.0];
    let out = resample_argmax(logits.view(), [10, 1, 2], long_z, PLACE, Rule::LINEAR, &[0, 1], 2);
    assert_eq!(out.data(), [[1, 0].repeat(5), [0, 1].repeat(5)].concat());
}

#[test]
fn cubic_rules_take_one_class_after_the_other() {
    let logits = row(2, vec![0.0, 0.0, 0.0, 0.0, -1.0, 1.0, 1.0, -1.0]);
    let cubic = Rule { order: Order::Cubic, ..Rule::LINEAR };
    let found = resample_argmax(logits.view(), [1, 1, 12], PLACE, PLACE, cubic, &[0, 10], 1);
    let resampled = resample_image(&logits, [1, 1, 12], PLACE, PLACE, cubic);
    let expected: Vec<i16> = resampled.channel(1).iter().map(|&value| if value > 0.0 { 10 } else { 0 }).collect();
    assert_eq!(found.data(), expected);
}

#[test]
#[should_panic(expected = "one label a class")]
fn every_class_needs_a_label() {
    resample_argmax(Volume::filled([2, 1, 1, 1], 0.0).view(), [1; 3], PLACE, PLACE, Rule::LINEAR, &[0], 1);
}

#[test]
#[should_panic(expected = "no voxel")]
fn nothing_cannot_be_resampled() {
    resample_argmax(Volume::filled([2, 0, 1, 1], 0.0).view(), [1; 3], PLACE, PLACE, Rule::LINEAR, &[0, 1], 1);
}
