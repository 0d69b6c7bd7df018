//! Logs and locks are never written through a symbolic link, which in a shared folder may lead to a file of the user's own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tests::artifact::plugin;
use tests::program::Bench;

/// A file of the user's, which nothing may change.
fn precious(bench: &Bench) -> std::path::PathBuf {
    let path = bench.folder().join("precious");
    fs::write(&path, "precious").expect("writable");
    path
}

fn expect_untouched(path: &Path) {
    assert_eq!(fs::read(path).expect("still there"), b"precious");
}

#[test]
fn logs_and_locks_of_a_fold() {
    for name in ["log.txt", "metrics.jsonl"] {
        let bench = Bench::new();
        let precious = precious(&bench);
        // Killed before its first checkpoint, so that it may begin anew.
        bench.train_killed(&plugin("base"), &[], "train.step 1");
        let log = bench.fold().join(name);
        fs::remove_file(&log).expect("there");
        symlink(&precious, &log).expect("linked");
        bench.train(&plugin("base"), &["--resume"]).expect_failure(&[name, "it is a symbolic link, through which no log is written"]);
        expect_untouched(&precious);
    }
    let bench = Bench::new();
    let precious = precious(&bench);
    let lock = bench.results().join("Dataset001_Small/base__nnUNetPlans__3d_fullres/fold_0.lock");
    fs::create_dir_all(lock.parent().expect("a folder")).expect("writable");
    symlink(&precious, &lock).expect("linked");
    bench.train(&plugin("base"), &[]).expect_failure(&["fold_0.lock", "symbolic link"]);
    expect_untouched(&precious);
    fs::remove_file(&lock).expect("there");
    // A lock is never cut: whatever somebody keeps in a file of that name stays.
    fs::write(&lock, "kept").expect("writable");
    bench.train(&plugin("base"), &["--no-validation"]).expect_success();
    assert_eq!(fs::read(&lock).expect("there"), b"kept");
}

#[test]
fn the_lock_of_a_data_set_and_of_a_store() {
    let bench = Bench::new();
    let precious = precious(&bench);
    let dataset = bench.raw.folder.display().to_string();
    let place = bench.folder().join("preprocessed/Dataset001_Small");
    fs::create_dir_all(&place).expect("writable");
    symlink(&precious, place.join("preparing.lock")).expect("linked");
    bench.run(&["plan", "--dataset", &dataset]).expect_failure(&["preparing.lock", "symbolic link"]);
    expect_untouched(&precious);
    fs::remove_file(place.join("preparing.lock")).expect("there");
    bench.run(&["plan-and-preprocess", "--dataset", &dataset, "--configuration", "2d"]).expect_success();
    let key = bench.stores("nnUNetPlans_2d")[0].join("store.json");
    let text = fs::read(&key).expect("written");
    let elsewhere = bench.folder().join("elsewhere");
    fs::write(&elsewhere, &text).expect("writable");
    fs::remove_file(&key).expect("there");
    symlink(&elsewhere, &key).expect("linked");
    bench.run(&["preprocess", "--dataset", &dataset, "--configuration", "2d"]).expect_failure(&["store.json", "symbolic link"]);
    assert_eq!(fs::read(&elsewhere).expect("there"), text);
}

#[test]
fn the_lock_of_the_pins() {
    let bench = Bench::new();
    let precious = precious(&bench);
    let folder = bench.folder().join("config/trainer-host");
    fs::create_dir_all(&folder).expect("writable");
    symlink(&precious, folder.join("trusted.lock")).expect("linked");
    let plugin = plugin("base").display().to_string();
    bench.run(&["plugin", "trust", "add", &plugin]).expect_failure(&["symbolic link"]);
    expect_untouched(&precious);
}
