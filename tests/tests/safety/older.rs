//! Stores and folds of an earlier version: used as they are, and gone on with.
//!
//! `fixtures/released/run-b82b409` holds a store and a fold that was killed in its second epoch, as the host of commit b82b409 left them.

use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};
use tests::artifact::{self, plugin};
use tests::checkpoint::change_header;
use tests::program::Bench;
use tests::snapshot::Snapshot;

/// Two epochs of a network that is small enough to be kept.
const TRAINING: [&str; 8] = ["--configuration", "tiny", "--epochs", "2", "--iterations", "3", "--patch-size", "16,16,16"];

fn kept() -> PathBuf {
    artifact::root().join("tests/fixtures/released/run-b82b409")
}

/// The data set as it was then: what a store knows of a file is its size and time.
fn bench() -> Bench {
    let bench = Bench::new();
    for number in 0..tests::case::CASES {
        for path in [bench.raw.image(number), bench.raw.labels(number)] {
            let file = fs::File::options().write(true).open(path).expect("there");
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).expect("ours");
        }
    }
    bench
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a parent")).expect("writable");
    assert!(Command::new("cp").arg("-r").args([from, to]).status().expect("starts").success());
}

/// The bench with what was kept.
fn restored() -> Bench {
    let bench = bench();
    copy(&kept().join("preprocessed"), &bench.folder().join("preprocessed"));
    copy(&kept().join("results"), &bench.folder().join("results"));
    // All else is compared; the plugin is another build.
    change_header(&bench.fold().join("checkpoint_latest.safetensors"), |header| {
        header["identity"].as_object_mut().expect("an object").remove("library").expect("it says");
    });
    bench
}

/// Goes on with the fold, and returns the tensors of its final checkpoint and the stores that are there then.
fn resumed(bench: &Bench) -> (impl PartialEq + std::fmt::Debug + use<>, Vec<PathBuf>) {
    bench.train(&plugin("base"), &[&TRAINING[..], &["--resume", "--no-validation"]].concat()).expect_success();
    (bench.final_tensors(), bench.stores("nnUNetPlans_3d_fullres"))
}

#[test]
fn a_store_of_an_earlier_version_is_used_and_its_run_goes_on_from_it_and_from_a_new_one() {
    let old = restored();
    let store = old.folder().join("preprocessed/Dataset001_Small/nnUNetPlans_3d_fullres.store");
    let before = Snapshot::of(&store, &[]);
    let (from_old, stores) = resumed(&old);
    assert_eq!(stores, std::slice::from_ref(&store));
    before.expect_same(&Snapshot::of(&store, &[]));

    let new = restored();
    fs::remove_dir_all(new.folder().join("preprocessed/Dataset001_Small/nnUNetPlans_3d_fullres.store")).expect("ours");
    let (from_new, stores) = resumed(&new);
    assert!(stores.len() == 1 && stores[0] != store, "{stores:?}");
    assert_eq!(from_old, from_new);

    // Other labels are another store; the old one stays for whoever uses it.
    old.raw.describe(json!({"labels": {"background": 0, "both": [1, 2]}, "regions_class_order": [1]}));
    let dataset = old.raw.folder.display().to_string();
    old.run(&["preprocess", "--dataset", &dataset, "--configuration", "tiny"]).expect_success();
    assert_eq!(old.stores("nnUNetPlans_3d_fullres").len(), 2);
    before.expect_same(&Snapshot::of(&store, &[]));
}

#[test]
fn a_folder_that_cannot_be_written_is_only_read() {
    let bench = restored();
    let place = bench.folder().join("preprocessed/Dataset001_Small");
    // As in a shared folder: everything is there, and somebody else's.
    let arguments = [&TRAINING[..], &["--resume", "--no-validation"]].concat();
    bench.train_with_read_only(&place, &plugin("base"), &arguments).expect_success();
    // Also where there is no lock to be taken; nothing is removed then.
    fs::remove_file(place.join("preparing.lock")).expect("there");
    let ended = bench.train_with_read_only(&place, &plugin("base"), &[&TRAINING[..], &["--overwrite", "--no-validation"]].concat());
    assert!(ended.expect_success().stderr.contains("is only read"));
}

#[test]
#[ignore = "makes fixtures/released/run-b82b409; needs OLD_HOST and OLD_BASE, the host and the plugin base of commit b82b409"]
fn make() {
    let program = |name: &str| std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set"));
    let bench = bench();
    bench.plan_tiny();
    let place = bench.folder().join("preprocessed/Dataset001_Small");
    fs::remove_file(place.join("dataset_fingerprint.json")).expect("planned");
    let plans = place.join("nnUNetPlans.json");
    let text = fs::read_to_string(&plans).expect("planned").replace("[8,16,32]", "[4,4,4]");
    assert!(text.contains("[4,4,4]"));
    fs::write(&plans, text).expect("writable");
    let mut command = Command::new(program("OLD_HOST"));
    command.args(["run", "--dataset"]).arg(&bench.raw.folder).arg("--plugin").arg(program("OLD_BASE")).arg("--output").arg(bench.results());
    command.args(TRAINING).args(["--batch-size", "2", "--val-iterations", "1", "--workers", "1", "--threads", "1", "--device", "cpu"]);
    command.args(["--precision", "fp32", "--fold", "0", "--seed", "0"]).args(["--keep-last", "2"]);
    bench.finish(command).expect_success();
    // As a kill in the second epoch leaves it.
    let fold = bench.fold();
    fs::rename(fold.join("checkpoint_epoch_0001.safetensors"), fold.join("checkpoint_latest.safetensors")).expect("kept");
    for file in ["checkpoint_best.safetensors", "checkpoint_final.safetensors", "checkpoint_epoch_0002.safetensors", "progress.png"] {
        fs::remove_file(fold.join(file)).expect("there");
    }
    for folder in ["validation", "examples"] {
        fs::remove_dir_all(fold.join(folder)).expect("there");
    }
    let _ = fs::remove_dir_all(kept());
    copy(&bench.folder().join("preprocessed"), &kept().join("preprocessed"));
    copy(&bench.results(), &kept().join("results"));
}
