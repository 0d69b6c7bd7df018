//! Two programs at once: neither takes from the other what it works with, and each that gives way says why.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use tests::artifact::plugin;
use tests::program::Bench;
use tests::snapshot::Snapshot;

const STEPS: [&str; 2] = ["--iterations", "6"];

/// What a training that nobody disturbs ends with.
fn undisturbed() -> BTreeMap<String, Vec<u8>> {
    let bench = Bench::new();
    bench.train(&plugin("base"), &STEPS).expect_success();
    bench.final_tensors()
}

/// Another process on the data set and results of `bench`, as a user starts it.
fn dataset(bench: &Bench) -> String {
    bench.raw.folder.display().to_string()
}

#[test]
fn a_running_fold_is_not_overwritten() {
    let bench = Bench::new();
    let ended = bench.train_while(&plugin("base"), &STEPS, "train.step 3", || {
        let before = Snapshot::of(&bench.fold(), &[]);
        for further in [&["--overwrite"][..], &["--resume"], &["--resume-anyway"], &["--overwrite", "--iterations", "9"]] {
            let further: Vec<&str> =
                STEPS.into_iter().filter(|_| !further.contains(&"--iterations")).chain(further.iter().copied()).collect();
            bench.train(&plugin("base"), &further).expect_failure(&["fold_0", "another program trains or validates this fold"]);
        }
        bench.train(&plugin("base"), &["--validate-only"]).expect_failure(&["another program trains or validates this fold"]);
        before.expect_same(&Snapshot::of(&bench.fold(), &[]));
    });
    ended.expect_success();
    assert_eq!(bench.final_tensors(), undisturbed());
}

#[test]
fn two_that_begin_the_same_fold_are_not_both_let_in() {
    let bench = Bench::new();
    // The first one has its fold, and has written nothing yet.
    let ended = bench.train_while(&plugin("base"), &STEPS, "train.step 1", || {
        let other = bench.train(&plugin("base"), &STEPS);
        other.expect_failure(&["fold_0"]);
    });
    ended.expect_success();
    assert_eq!(bench.final_tensors(), undisturbed());
}

#[test]
fn a_fold_that_an_earlier_version_trains_is_not_overwritten() {
    let bench = Bench::new();
    bench.train(&plugin("base"), &STEPS).expect_success();
    // Versions up to 2026-11 lock the log, and nothing else.
    let log = fs::File::open(bench.fold().join("log.txt")).expect("there");
    log.try_lock().expect("free");
    let before = Snapshot::of(&bench.fold(), &[]);
    bench.train(&plugin("base"), &["--overwrite"]).expect_failure(&["log.txt", "another program is training this fold"]);
    before.expect_same(&Snapshot::of(&bench.fold(), &[]));
    drop(log);
    bench.train(&plugin("base"), &["--overwrite"]).expect_success();
}

#[test]
fn a_store_in_use_survives_other_labels_other_plans_and_other_files() {
    let bench = Bench::new();
    let plans = bench.folder().join("preprocessed/Dataset001_Small/nnUNetPlans.json");
    let preprocess = |further: &[&str]| {
        let dataset = dataset(&bench);
        bench.run(&[&["preprocess", "--dataset", &dataset, "--configuration", "3d_fullres"][..], further].concat())
    };
    let store = || bench.stores("nnUNetPlans_3d_fullres");
    let ended = bench.train_while(&plugin("base"), &STEPS, "train.step 2", || {
        let [used] = &store()[..] else { panic!("one store") };
        let before = Snapshot::of(used, &[]);
        // Other labels: another store.
        bench.raw.describe(json!({"labels": {"background": 0, "both": [1, 2]}, "regions_class_order": [1]}));
        preprocess(&[]).expect_success();
        // Another spacing: a third one.
        let original = fs::read(&plans).expect("planned");
        let mut json: Value = serde_json::from_slice(&original).expect("JSON");
        json["configurations"]["3d_fullres"]["spacing"] = json!([2.0, 2.0, 2.0]);
        fs::write(&plans, json.to_string()).expect("writable");
        preprocess(&[]).expect_success();
        fs::write(&plans, original).expect("writable");
        assert_eq!(store().len(), 3);
        // What nothing needs is removed when that is asked for, but for what is used.
        let dataset = dataset(&bench);
        let listed = bench.run(&["preprocess", "--clean", "--dataset", &dataset]).expect_success().stdout;
        assert!(listed.contains("left, since another program uses it") && listed.contains("6 cases"), "{listed}");
        bench.raw.describe(json!({}));
        // Made anew: refused while it is used.
        preprocess(&["--overwrite"]).expect_failure(&["zarr.zip", "another program uses its store"]);
        bench.raw.relabel(0, |labels| labels);
        preprocess(&[]).expect_success();
        bench.raw.relabel(0, |mut labels| {
            labels.data_mut().iter_mut().for_each(|label| *label = (*label).min(1));
            labels
        });
        preprocess(&[]).expect_failure(&["case_000.zarr.zip", "another program uses its store"]);
        bench.raw.relabel(0, |labels| labels);
        before.expect_same(&Snapshot::of(used, &[&used.join("inputs.json")]));
    });
    ended.expect_success();
    assert_eq!(bench.final_tensors(), undisturbed());
}

#[test]
fn cleaning_removes_stores_that_nothing_needs_and_nothing_else() {
    let bench = Bench::new();
    let (dataset, place) = (dataset(&bench), bench.folder().join("preprocessed/Dataset001_Small"));
    let run = |arguments: &[&str]| bench.run(&[arguments, &["--dataset", &dataset]].concat());
    run(&["plan-and-preprocess", "--configuration", "2d,3d_fullres"]).expect_success();
    let needed = Snapshot::of(&place, &[]);
    let clean = || run(&["preprocess", "--clean"]);
    assert!(clean().expect_success().stdout.contains("nothing is removed"));
    needed.expect_same(&Snapshot::of(&place, &[]));

    // Stores of other labels: one that is only a store, one that holds somebody's notes, one that is a link to elsewhere.
    bench.raw.describe(json!({"labels": {"background": 0, "both": [1, 2]}, "regions_class_order": [1]}));
    run(&["preprocess", "--configuration", "2d,3d_fullres"]).expect_success();
    bench.raw.describe(json!({}));
    let old = |identifier: &str| {
        let stores = bench.stores(identifier);
        stores.into_iter().find(|store| !needed.holds(store)).expect("one is new")
    };
    let (noted, linked) = (old("nnUNetPlans_2d"), old("nnUNetPlans_3d_fullres"));
    fs::write(noted.join("notes.txt"), "mine").expect("writable");
    let elsewhere = bench.folder().join("elsewhere");
    fs::rename(&linked, &elsewhere).expect("writable");
    std::os::unix::fs::symlink(&elsewhere, &linked).expect("linked");
    let before = Snapshot::of(bench.folder(), &[]);
    let listed = clean().expect_success().stdout;
    assert!(listed.contains("left, since it holds \"notes.txt\""), "{listed}");
    before.expect_same(&Snapshot::of(bench.folder(), &[]));

    // Plans that cannot be read: whose the stores are is not known.
    let plans = place.join("nnUNetPlans.json");
    let text = fs::read_to_string(&plans).expect("planned");
    fs::write(&plans, &text[..text.len() / 2]).expect("writable");
    clean().expect_failure(&["nnUNetPlans.json", "is no plans file"]);
    fs::write(&plans, text).expect("writable");
    fs::remove_file(noted.join("notes.txt")).expect("there");
    assert!(clean().expect_success().stdout.contains("6 cases") && !noted.exists());
}

#[test]
fn a_kill_while_a_fold_is_replaced_leaves_none_of_it() {
    let bench = Bench::new();
    bench.train(&plugin("base"), &STEPS).expect_success();
    bench.train_killed(&plugin("base"), &[&STEPS[..], &["--overwrite"]].concat(), "fold.removed 1");
    assert!(!bench.fold().exists(), "its folder goes at once");
    assert!(!bench.run(&["runs", "list", "--output", "results"]).stdout.contains("removed"));
    bench.train(&plugin("base"), &STEPS).expect_success();
    assert_eq!(bench.final_tensors(), undisturbed());
    bench.train(&plugin("base"), &[&STEPS[..], &["--overwrite"]].concat()).expect_success();
    assert!(!bench.fold().with_extension("removed").exists());
}
