//! Planning and preprocessing as commands of their own: what they leave, what they do a second time, what a kill does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tests::program::Bench;

fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path());
    let visible = entries.filter(|path| path.is_file() && !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    visible.map(|path| (path.file_name().expect("a file").into(), fs::read(&path).expect("readable"))).collect()
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
    assert!(!place.join("nnUNetPlans_3d_fullres.store").exists());
    let store = place.join("nnUNetPlans_2d.store");
    let times = || -> Vec<_> {
        files(&store).keys().map(|name| fs::metadata(store.join(name)).and_then(|file| file.modified()).expect("there")).collect()
    };
    let first = times();
    assert_eq!(first.len(), 7, "six cases and the key");

    bench.run(&["plan-and-preprocess", "--dataset", &dataset]).expect_success();
    assert_eq!(times(), first, "written once");
    assert_eq!(files(&place.join("nnUNetPlans_3d_fullres.store")).len(), 7);
    bench.run(&["preprocess", "--dataset", &dataset, "--configuration", "3d_fulres"]).expect_refusal(&["3d_fulres", "3d_fullres"]);
    assert_eq!(bench.half_written(), [] as [PathBuf; 0]);
}

#[test]
fn a_killed_run_goes_on_where_it_was() {
    const CASES: usize = 300;
    let [killed, whole] = [(); 2].map(|()| {
        let bench = Bench::new();
        bench.raw.multiply(CASES);
        bench
    });
    let arguments = |bench: &Bench| {
        let words = ["plan-and-preprocess", "--configuration", "3d_fullres", "--threads", "2", "--dataset"];
        words.into_iter().map(str::to_owned).chain([bench.raw.folder.display().to_string()]).collect::<Vec<_>>()
    };
    let run = |bench: &Bench| bench.run(&arguments(bench).iter().map(String::as_str).collect::<Vec<_>>()).expect_success();
    let store = |bench: &Bench| bench.folder().join("preprocessed/Dataset001_Small/nnUNetPlans_3d_fullres.store");
    run(&whole);
    let complete = files(&store(&whole));
    assert_eq!(complete.len(), CASES + 1);

    let words = arguments(&killed);
    killed.kill_when(&words.iter().map(String::as_str).collect::<Vec<_>>(), || files(&store(&killed)).len() > 20);
    let left = files(&store(&killed));
    assert!(left.len() < CASES, "killed too late to prove anything");
    let modified = |name: &Path| fs::metadata(store(&killed).join(name)).and_then(|file| file.modified()).expect("there");
    let before: BTreeMap<_, _> = left.keys().map(|name| (name, modified(name))).collect();
    run(&killed);
    assert!(before.iter().all(|(name, time)| modified(name) == *time), "what was complete is not done again");
    // The files name the raw files that they come from, so their bytes differ between folders; their number and sizes do not.
    let sizes = |files: &BTreeMap<PathBuf, Vec<u8>>| files.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect::<Vec<_>>();
    assert_eq!(sizes(&files(&store(&killed))), sizes(&complete));
}
