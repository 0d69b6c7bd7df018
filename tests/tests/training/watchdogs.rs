//! Watchdogs: what is NaN, dead, or rises no more is said, with names; and what is then done.

use safetensors::SafeTensors;
use std::fs;
use tests::artifact;
use tests::program::{Bench, Ended};

fn train(bench: &Bench, fault: &str, further: &[&str]) -> Ended {
    let fault = format!("fault={fault}");
    let arguments: Vec<&str> = ["--set", &fault].iter().chain(further).copied().collect();
    bench.train(&artifact::fixture("faulty"), &arguments)
}

fn count(ended: &Ended, words: &[&str]) -> usize {
    ended.stdout.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

#[test]
fn a_nan_names_its_case_and_stops() {
    let bench = Bench::new();
    let ended = train(&bench, "nan_for_one_case", &["--iterations", "20"]);
    ended.expect_failure(&["term 'segmentation'", "NaN", "iteration", "case_004"]);
}

#[test]
fn a_nan_is_skipped_and_training_goes_on() {
    let bench = Bench::new();
    let ended = train(&bench, "nan_for_one_case", &["--iterations", "12", "--on-nonfinite", "skip"]).expect_success();
    let skipped = count(&ended, &["Step left out", "NaN", "case_004"]);
    assert!((1..12).contains(&skipped), "{ended:#?}");
    let record = &bench.records()[0];
    assert_eq!(record["skipped"], skipped);
    assert!(record["train_loss"].is_f64() && record["gradient_norm"].is_f64(), "{record}");
}

#[test]
fn nothing_but_nan_stops_even_those_who_skip() {
    let bench = Bench::new();
    let ended = train(&bench, "nan_loss", &["--iterations", "30", "--on-nonfinite", "skip"]);
    ended.expect_failure(&["NaN", "iteration 19"]);
    assert_eq!(count(&ended, &["Step left out"]), 20);
}

#[test]
fn a_nan_is_dumped_with_its_batch() {
    let bench = Bench::new();
    train(&bench, "nan_loss", &["--on-nonfinite", "dump"]).expect_failure(&["NaN"]);
    let bytes = fs::read(bench.fold().join("nonfinite_epoch_0_iteration_0_batch_0.safetensors")).expect("dumped");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    assert_eq!(tensors.tensor("image").expect("there").shape(), [2, 1, 16, 16, 16]);
    assert_eq!(tensors.tensor("segmentation.0").expect("there").shape(), [2, 1, 16, 16, 16]);
}

#[test]
fn a_dead_term_is_named_once() {
    let arguments = ["--epochs", "2", "--iterations", "6"];
    let detached = train(&Bench::new(), "detached_features", &arguments).expect_success();
    assert_eq!(count(&detached, &["Warning", "'segmentation'", "no gradient on the trunk"]), 1, "{detached:#?}");
    assert_eq!(count(&detached, &["Warning"]), 1, "{detached:#?}");

    let constant = train(&Bench::new(), "constant_term", &arguments).expect_success();
    assert_eq!(count(&constant, &["Warning", "'constant'", "no gradient on the trunk"]), 1, "{constant:#?}");
    assert_eq!(count(&constant, &["Warning", "'constant'", "same value in every step"]), 1, "{constant:#?}");
    assert_eq!(count(&constant, &["Warning"]), 2, "{constant:#?}");

    let alive = train(&Bench::new(), "none", &arguments).expect_success();
    assert_eq!(count(&alive, &["Warning"]), 0, "{alive:#?}");
}

#[test]
fn a_plateau_is_named_and_ends_a_training_that_asked_for_it() {
    let bench = Bench::new();
    // Nothing is learnt without a learning rate.
    let arguments = ["--learning-rate", "0", "--epochs", "30", "--plateau", "2", "--early-stop", "4", "--keep-last", "1"];
    let base = artifact::plugin("base");
    let ended = bench.train(&base, &arguments).expect_success();
    assert_eq!(count(&ended, &["Stopped early", "4 epochs ago"]), 1, "{ended:#?}");
    assert!(count(&ended, &["Plateau", "2 epochs ago"]) >= 1, "{ended:#?}");
    let epochs = bench.records().len();
    assert!((5..30).contains(&epochs), "{epochs} epochs");
    assert!(bench.fold().join("checkpoint_final.safetensors").is_file());

    // It has come to its end, and stays there.
    let resumed: Vec<&str> = arguments.into_iter().chain(["--resume"]).collect();
    bench.train(&base, &resumed).expect_success();
    assert_eq!(bench.records().len(), epochs);
}
