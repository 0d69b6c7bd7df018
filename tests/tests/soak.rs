//! A training that is killed again and again, runs out of disk and loses its permissions, ends as one that was left alone.

use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tests::artifact;
use tests::program::Bench;

/// `kill -9` so often.
const KILLS: u32 = 20;

/// Small steps, checkpoints in the middle of epochs, pictures, and a trainer with a state and an optimiser of its own.
const ARGUMENTS: [&str; 14] = [
    "--configuration",
    "tiny",
    "--epochs",
    "8",
    "--iterations",
    "50",
    "--val-iterations",
    "2",
    "--checkpoint-minutes",
    "0.0005",
    "--examples",
    "3",
    "--keep-last",
    "2",
];

/// Fields of `metrics.jsonl` that may differ from run to run, by its schema.
fn varying(bench: &Bench) -> Vec<String> {
    let schema: Value = serde_json::from_str(&bench.run(&["runs", "schema"]).expect_success().stdout).expect("JSON");
    let fields = schema["properties"].as_object().expect("an object's schema").iter();
    fields.filter(|(_, field)| field["x-varies"] == true).map(|(name, _)| name.clone()).collect()
}

/// The records without those fields.
fn lasting_records(bench: &Bench) -> Vec<Value> {
    let varying = varying(bench);
    assert!(varying.iter().any(|name| name == "seconds"), "{varying:?}");
    let mut records = bench.records();
    records.iter_mut().for_each(|record| record.as_object_mut().expect("an object").retain(|name, _| !varying.contains(name)));
    records
}

#[test]
fn a_tortured_run_ends_as_one_that_was_left_alone() {
    let plugin = artifact::fixture("annealed");
    let whole = Bench::new();
    whole.plan_tiny();
    whole.train(&plugin, &ARGUMENTS).expect_success();

    let tortured = Bench::new();
    tortured.plan_tiny();
    let resume: Vec<&str> = ARGUMENTS.into_iter().chain(["--resume"]).collect();
    let mut random = 7u64;
    let mut draw = |most: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % most
    };
    for life in 0..KILLS {
        // By checkpoints rather than by the clock, so that slow machines get as far as fast ones. Without one: as it starts.
        let checkpoints = draw(4) as u32;
        let time = Duration::from_millis(draw(if checkpoints == 0 { 500 } else { 60 }));
        if let Some(ended) = tortured.train_and_kill(&plugin, &resume, checkpoints, time) {
            panic!("life {life} ended before it was killed; make the training longer: {ended:#?}");
        }
        if life == KILLS / 3 {
            tortured.train_on_full_disk(&plugin, &resume, 64).expect_failure(&["File too large", "disk is not full"]);
        }
        if life == KILLS / 2 {
            let ended = tortured.train_until_read_only(&plugin, &resume, Duration::from_millis(600));
            ended.expect_failure(&["Permission denied", "fold_0"]);
        }
    }
    // A kill in the middle of a picture is rare.
    for folder in [tortured.fold(), tortured.fold().join("examples")] {
        fs::write(folder.join(".writing-planted"), "half").expect("writable");
    }
    let ended = tortured.train(&plugin, &resume).expect_success();
    assert!(ended.stdout.contains("Resumed at epoch"), "{ended:#?}");

    for which in ["final", "best", "epoch_0007"] {
        assert!(tortured.tensors(which) == whole.tensors(which), "checkpoint {which} holds other bytes");
    }
    assert_eq!(lasting_records(&tortured), lasting_records(&whole));
    assert_eq!(tortured.half_written(), [] as [PathBuf; 0]);
    let files = |bench: &Bench| {
        let names =
            fs::read_dir(bench.fold()).expect("there").map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"));
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("events.")).collect();
        names.sort();
        names
    };
    assert_eq!(files(&tortured), files(&whole));
}
