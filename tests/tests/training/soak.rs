//! A training that is killed again and again, runs out of disk and loses its permissions, ends as one that was left alone.

use std::fs;
use std::path::PathBuf;
use tests::artifact;
use tests::program::Bench;
use tests::random::Random;

/// `kill -9` so often.
const KILLS: u32 = 20;

/// Small steps, a checkpoint after each of them, pictures, and a trainer with a state and an optimiser of its own.
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
    "1e-9",
    "--examples",
    "3",
    "--keep-last",
    "2",
];

#[test]
fn a_tortured_run_ends_as_one_that_was_left_alone() {
    let plugin = artifact::fixture("annealed");
    let whole = Bench::new();
    whole.plan_tiny();
    whole.train(&plugin, &ARGUMENTS).expect_success();

    let tortured = Bench::new();
    tortured.plan_tiny();
    let resume: Vec<&str> = ARGUMENTS.into_iter().chain(["--resume"]).collect();
    let mut random = Random::new(7);
    for life in 0..KILLS {
        // Every life goes on where the one before it was killed. All together they make fewer steps than the training has.
        let steps = 1 + random.below(12);
        let point = match life % 5 {
            0 => format!("train.step {steps}"),
            1 => format!("sync checkpoint_latest.safetensors {steps}"),
            2 => format!("rename checkpoint_latest.safetensors {steps}"),
            3 => format!("renamed checkpoint_latest.safetensors {steps}"),
            // At the end of an epoch.
            _ => "rename progress.png 1".to_owned(),
        };
        // Before the first checkpoint.
        let point = if life == 0 { "train.step 1" } else { &point };
        tortured.train_killed(&plugin, &resume, point);
        if life == KILLS / 3 {
            tortured.train_on_full_disk(&plugin, &resume, 64).expect_failure(&["File too large", "disk is not full"]);
        }
        if life == KILLS / 2 {
            let ended = tortured.train_until_read_only(&plugin, &resume, "renamed checkpoint_latest.safetensors 1");
            ended.expect_failure(&["Permission denied", "fold_0"]);
        }
    }
    // A kill in the middle of a picture is rare.
    for folder in [tortured.fold(), tortured.fold().join("examples")] {
        fs::write(folder.join(".writing-planted"), "half").expect("writable");
    }
    let ended = tortured.train(&plugin, &resume).expect_success();
    assert!(ended.stdout.contains("Resumed at epoch") && !ended.stdout.contains("Resumed at epoch 0"), "{ended:#?}");

    for which in ["final", "best", "epoch_0007"] {
        assert!(tortured.tensors(which) == whole.tensors(which), "checkpoint {which} holds other bytes");
    }
    assert_eq!(tortured.lasting_records(), whole.lasting_records());
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
