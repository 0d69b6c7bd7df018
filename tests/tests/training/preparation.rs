//! Planning and preprocessing as commands of their own: what they leave, what they do a second time, what a kill does.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tests::program::Bench;

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path());
    let visible = entries.filter(|path| path.is_file() && !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    visible.map(|path| (path.file_name().expect("a file").into(), fs::read(&path).expect("readable"))).collect()
}

/// What the file system calls every file: another number for one that was written again, however soon.
fn numbers(folder: &Path) -> BTreeMap<PathBuf, u64> {
    files(folder).into_keys().map(|name| (name.clone(), fs::metadata(folder.join(&name)).expect("there").ino())).collect()
}

#[test]
fn every_step_does_what_is_missing_and_nothing_twice() {
    let bench = Bench::new();
    let dataset = bench.raw.folder.display().to_string();
    let place = bench.folder().join("preprocessed/Dataset001_Small");
    let ended = bench.run(&["fingerprint", "--dataset", &dataset]).expect_success();
    assert!(ended.stdout.contains("6 cases") && ended.stdout.contains("channel 0"), "{}", ended.stdout);
    assert_eq!(files(&place).len(), 2, "the fingerprint and the lock");

    let ended = bench.run(&["plan", "--dataset", &dataset, "--planner", "ResEncM"]).expect_success();
    assert!(ended.stdout.contains("nnUNetResEncUNetMPlans.json") && ended.stdout.contains("3d_fullres"), "{}", ended.stdout);

    // Plans that are not there are made.
    bench.run(&["preprocess", "--dataset", &dataset, "--configuration", "2d"]).expect_success();
    assert!(bench.stores("nnUNetPlans_3d_fullres").is_empty());
    let [store] = &bench.stores("nnUNetPlans_2d")[..] else { panic!("one store") };
    let first = numbers(store);
    assert_eq!(first.len(), 7, "six cases and the key");

    bench.run(&["plan-and-preprocess", "--dataset", &dataset]).expect_success();
    assert_eq!(numbers(store), first, "written once");
    assert_eq!(files(&bench.stores("nnUNetPlans_3d_fullres")[0]).len(), 7);
    bench.run(&["preprocess", "--dataset", &dataset, "--configuration", "3d_fulres"]).expect_refusal(&["3d_fulres", "3d_fullres"]);
    assert_eq!(bench.half_written(), [] as [PathBuf; 0]);
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    const CASES: usize = 40;
    let bench = Bench::new();
    bench.raw.multiply(CASES);
    let dataset = bench.raw.folder.display().to_string();
    let arguments = ["plan-and-preprocess", "--configuration", "3d_fullres", "--threads", "2", "--dataset", &dataset];
    let place = bench.folder().join("preprocessed");
    bench.run(&arguments).expect_success();
    let store = bench.stores("nnUNetPlans_3d_fullres").remove(0);
    let complete = files(&store);
    assert_eq!(complete.len(), CASES + 1);
    fs::remove_dir_all(&place).expect("ours");

    bench.run_killed(&arguments, "preprocess.case 20");
    let left = files(&store);
    // Both threads write; the key is there from the start.
    assert!((21..=22).contains(&left.len()), "killed after 20 cases: {:?}", left.keys());
    let before = numbers(&store);
    bench.run(&arguments).expect_success();
    let after = numbers(&store);
    assert!(before.iter().all(|(name, number)| after[name] == *number), "what was complete is not done again");
    assert!(files(&store) == complete, "other files than without the kill");
}
