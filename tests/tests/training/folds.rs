//! Folds are independent: each has weights and draws of its own, the same for the same seed, whichever plugin is trained.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use tests::artifact;
use tests::checkpoint::{change_header, header};
use tests::program::{Bench, tensors_of};

/// What `bench` leaves of `fold` after no step at all: a learning rate of 0 keeps the weights that it began with.
fn begun(bench: &Bench, fold: &str, seed: &str) -> (BTreeMap<String, Vec<u8>>, String) {
    let arguments = ["--fold", fold, "--seed", seed, "--learning-rate", "0", "--weight-decay", "0", "--no-validation", "--overwrite"];
    bench.train(&artifact::plugin("base"), &arguments).expect_success();
    let checkpoint = folder(bench, fold).join("checkpoint_final.safetensors");
    let weights = tensors_of(&checkpoint).into_iter().filter(|(name, _)| !name.starts_with("velocity."));
    let key = header(&checkpoint)["identity"]["data_key"].as_str().expect("a key").to_owned();
    (weights.collect(), key)
}

fn folder(bench: &Bench, fold: &str) -> PathBuf {
    bench.results().join(format!("Dataset001_Small/base__nnUNetPlans__3d_fullres/fold_{fold}"))
}

#[test]
fn every_fold_begins_with_weights_and_draws_of_its_own() {
    let bench = Bench::new();
    let folds = ["0", "1", "all"];
    let first: Vec<_> = folds.iter().map(|fold| begun(&bench, fold, "0")).collect();
    for (i, (weights, key)) in first.iter().enumerate() {
        for (other, other_key) in &first[..i] {
            assert!(weights != other, "two folds begin with the same weights");
            assert_ne!(key, other_key);
        }
        assert!(begun(&bench, folds[i], "0") == (weights.clone(), key.clone()), "fold {}: another time, other numbers", folds[i]);
    }
    assert!(begun(&bench, "0", "1").0 != first[0].0, "the seed changes nothing");
}

#[test]
fn a_fold_that_was_begun_before_folds_had_their_own_goes_on_with_the_old_numbers() {
    // The same run, its checkpoint once as it was before: with the numbers of the user's seed.
    let arguments = ["--fold", "1", "--epochs", "2", "--no-validation"];
    let base = artifact::plugin("base");
    let old = Bench::new();
    old.train_killed(&base, &[&arguments[..], &["--checkpoint-minutes", "1e-9"]].concat(), "train.step 3");
    let latest = folder(&old, "1").join("checkpoint_latest.safetensors");
    change_header(&latest, |header| {
        header["identity"].as_object_mut().expect("an object").remove("streams").expect("new ones say it");
    });
    // Batches are named by their seed, too, so these have another key than those that this checkpoint really saw; all else is as before.
    old.train(&base, &[&arguments[..], &["--resume"]].concat()).expect_refusal(&["its data_key is"]);
    old.train(&base, &[&arguments[..], &["--resume-anyway"]].concat()).expect_success();
    let debug: Value = serde_json::from_slice(&fs::read(folder(&old, "1").join("debug.json")).expect("written")).expect("JSON");
    assert_eq!((&debug["seed"], &debug["task"]["seed"], &debug["identity"]["streams"]), (&json!(0), &json!(0), &json!("seed")));
    // And once more, now that its own checkpoint says so.
    old.train(&base, &["--fold", "1", "--epochs", "2", "--no-validation", "--resume"]).expect_success();
}
