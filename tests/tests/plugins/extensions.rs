//! Extensions, and that every method of a trainer is reached, through either door.

use host::conformance::{Subject, every_kind_of_target};
use host::plugin;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use tch::Tensor;
use tests::artifact;
use tests::program::Bench;

/// Trains two epochs in two parts, predicts, and returns how often each call was made.
fn calls(plugin: &Path) -> BTreeMap<String, usize> {
    let bench = Bench::new();
    let list = bench.folder().join("calls");
    let option = format!("list={}", list.display());
    let arguments = |epochs: &'static str| ["--epochs", epochs, "--set", option.as_str()];
    bench.train_interrupted(plugin, &arguments("2"), "train.step 3");
    let resumed = [&arguments("2")[..], &["--resume"]].concat();
    bench.train(plugin, &resumed).expect_success();
    let record = &bench.records()[0];
    assert_eq!(record["metrics"]["segmentation"]["samples"], 2.0, "{record}");
    assert!(record["train"]["square"]["value"].as_f64().is_some_and(|value| value > 0.0), "{record}");
    let mut counted = BTreeMap::new();
    for line in fs::read_to_string(&list).expect("calls").lines() {
        *counted.entry(line.to_owned()).or_insert(0) += 1;
    }
    counted
}

#[test]
fn every_method_is_reached_through_both_doors() {
    let folder = artifact::folder();
    let rust = artifact::fixture("probe");
    for plugin in [rust.clone(), artifact::without_rust_door(&rust, folder.path())] {
        let calls = calls(&plugin);
        let reached: Vec<&str> = calls.keys().map(String::as_str).collect();
        // `loss` is what the hand-written gradient stands in for.
        let expected = [
            "activate",
            "drop",
            "epoch_end 0",
            "epoch_end 1",
            "epoch_start 0",
            "epoch_start 1",
            "forward",
            "load_state",
            "loss_with_grad",
            "metrics",
            "new",
            "outputs",
            "save_state",
            "transform apply",
            "transform drop",
            "transform new",
            "transform targets",
        ];
        assert_eq!(reached, expected, "{}", plugin.display());
        assert_eq!(calls["new"], calls["drop"], "{calls:?}");
        assert_eq!(calls["transform new"], calls["transform drop"], "{calls:?}");
    }
}

/// Value of the one term on random outputs, and its gradient by the finest level.
fn dice(autograd: bool) -> (f64, Tensor) {
    let library = plugin::load(&artifact::fixture("hand-dice"), &artifact::this_host()).expect("loads");
    let subject =
        Subject { plugin: library, options: json!({ "autograd": autograd }), targets: every_kind_of_target(), made_up: true, seed: 0 };
    let mut rig = subject.usual().expect("a trainer");
    let (logits, step) = (rig.logits().expect("outputs"), rig.step(0));
    let terms = rig.loss(&logits, &step).expect("a loss");
    terms[0].value.backward();
    let finest = &logits.get("segmentation").expect("declared")[0];
    (f64::try_from(&terms[0].value).expect("a number"), finest.grad())
}

#[test]
fn a_gradient_by_hand_is_that_of_autograd() {
    let ((value, by_hand), (same, by_graph)) = (dice(false), dice(true));
    assert!(value < 0.0 && (value - same).abs() < 1e-6, "the value of the loss itself: {value}, {same}");
    let (off, largest) = (f64::try_from((&by_hand - &by_graph).abs().max()).expect("a number"), by_graph.abs().max());
    let relative = off / f64::try_from(largest).expect("a number");
    println!("gradient by hand and by autograd: {off:.2e} apart, {relative:.2e} of the largest");
    assert!(off < 1e-6 && relative < 1e-5, "{off} {relative}");

    let train = |autograd: &str| {
        let bench = Bench::new();
        bench.train(&artifact::fixture("hand-dice"), &["--epochs", "2", "--iterations", "3", "--set", autograd]).expect_success();
        bench.records().iter().map(|record| record["train"]["dice"]["value"].as_f64().expect("a number")).collect::<Vec<f64>>()
    };
    let (by_hand, by_graph) = (train("autograd=false"), train("autograd=true"));
    assert!(by_hand.iter().all(|loss| *loss < 0.0), "the true value is logged: {by_hand:?}");
    assert!(by_hand.iter().zip(&by_graph).all(|(hand, graph)| (hand - graph).abs() < 1e-5), "{by_hand:?} {by_graph:?}");
}
