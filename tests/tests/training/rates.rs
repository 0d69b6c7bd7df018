//! `--heads-rate` and `--loss-weights-rate`: factors of the learning rate, for what the plugin has created.

use std::collections::BTreeMap;
use std::path::Path;
use tests::artifact;
use tests::program::Bench;

/// More than rounding can move a weight.
const ROUNDING: f32 = 1e-6;

/// Weights by name.
type Weights = BTreeMap<String, Vec<f32>>;

/// The weights after one step, of those that `wanted` takes by their name and of the others.
fn after_a_step(bench: &Bench, plugin: &Path, further: &[&str], wanted: fn(&str) -> bool) -> [Weights; 2] {
    let arguments = ["--configuration", "tiny", "--iterations", "1", "--overwrite"];
    bench.train(plugin, &[&arguments, further].concat()).expect_success();
    let weights =
        bench.final_tensors().into_iter().filter(|(name, _)| ["encoder.", "decoder.", "plugin."].iter().any(|part| name.starts_with(part)));
    let numbers = |bytes: Vec<u8>| bytes.chunks_exact(4).map(|number| f32::from_le_bytes(number.try_into().expect("four bytes"))).collect();
    let (theirs, others) = weights.map(|(name, bytes)| (name, numbers(bytes))).partition(|(name, _)| wanted(name));
    [theirs, others]
}

/// How far every number has moved.
fn moves(from: &Weights, to: &Weights) -> Vec<f32> {
    assert!(from.keys().eq(to.keys()));
    from.values().flatten().zip(to.values().flatten()).map(|(from, to)| to - from).collect()
}

/// Asserts that `flag` is the factor with which the weights that `wanted` takes are moved, and that no other weight knows of it.
fn expect_factor(plugin: &Path, options: &[&str], flag: &str, wanted: fn(&str) -> bool) {
    let bench = Bench::new();
    bench.plan_tiny();
    let train = |further: &[&str]| after_a_step(&bench, plugin, &[options, further].concat(), wanted);
    let [initial, others_initial] = train(&["--learning-rate", "0"]);
    let [default, others] = train(&[]);
    assert!(!initial.is_empty() && others != others_initial, "nothing is trained");
    let step = moves(&initial, &default);
    let largest = step.iter().fold(0.0, |largest: f32, step| largest.max(step.abs()));
    assert!(largest > 1000.0 * ROUNDING, "they move by {largest}: nothing can be told of it");
    for factor in [0.0, 1.0, 3.0] {
        let [moved, same] = train(&[flag, &factor.to_string()]);
        assert!(same == others, "{flag} {factor} moves other weights");
        let differs = |(moved, step): (f32, &f32)| (moved - factor * step).abs() > ROUNDING;
        assert!(!moves(&initial, &moved).into_iter().zip(&step).any(differs), "{flag} {factor} is another factor");
        assert!(factor != 0.0 || moved == initial, "{flag} 0 moves something");
    }
    for wrong in ["-1", "NaN", "inf"] {
        let given = format!("{flag}={wrong}");
        let arguments = [options, &["--name", "wrong", &given]].concat();
        let ended = bench.train(plugin, &arguments);
        let setting = format!("setting '{}': ", flag.trim_start_matches('-').replace('-', "_"));
        assert!(ended.code == 2 && ended.stderr.contains(&setting), "{ended:#?}");
    }
}

#[test]
fn heads_learn_at_a_rate_of_their_own() {
    expect_factor(&artifact::plugin("base"), &[], "--heads-rate", |name| name.starts_with("plugin."));
}

#[test]
fn learned_weights_of_losses_do_too() {
    let options = ["--set", "outputs.segmentation={}", "--set", "learned_weights=true"];
    expect_factor(&artifact::plugin("multi-output"), &options, "--loss-weights-rate", |name| name.ends_with(".log_variance"));
}
