//! A model finds the plugin that this user trained it with; nothing in its folder leads to a library.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tests::artifact;
use tests::checkpoint::{change_header, header};
use tests::program::{Bench, Ended};

/// What the log says of a library that was remembered.
const REMEMBERED: &str = "as this model was trained with it";

/// A run with a library of its own, which lies in no folder that is searched.
fn trained(bench: &Bench, further: &[&str]) -> PathBuf {
    let plugin = bench.folder().join("libmine.so");
    fs::copy(artifact::fixture("brier"), &plugin).expect("copied");
    bench.train(&plugin, &[&["--no-validation"], further].concat()).expect_success();
    plugin
}

fn predict(bench: &Bench, further: &[&str]) -> Ended {
    let model = bench.fold().parent().expect("a model").to_owned();
    let places = [model, bench.raw.folder.join("imagesTr"), bench.folder().join("predicted")];
    let [model, input, output] = places.each_ref().map(|path| path.to_str().expect("UTF-8"));
    bench.run(&[&["predict", "--model", model, "--input", input, "--output", output, "--device", "cpu"], further].concat())
}

fn state(bench: &Bench) -> PathBuf {
    bench.folder().join(".local/state/trainer-host/plugins")
}

/// The one library that is remembered.
fn note(bench: &Bench) -> PathBuf {
    let notes: Vec<PathBuf> = fs::read_dir(state(bench)).expect("written").map(|entry| entry.expect("readable").path()).collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    notes[0].clone()
}

fn unknown(ended: &Ended) {
    ended.expect_failure(&["no plugin 'brier'"]);
}

#[test]
fn a_model_is_predicted_with_the_plugin_that_trained_it() {
    let bench = Bench::new();
    let plugin = trained(&bench, &[]);
    let ended = predict(&bench, &[]).expect_success();
    assert!(ended.stderr.contains(REMEMBERED), "{ended:#?}");
    // `--plugin` comes first, and what is locked stays locked.
    let copy = bench.folder().join("libcopy.so");
    fs::copy(&plugin, &copy).expect("copied");
    let ended = predict(&bench, &["--plugin", copy.to_str().expect("UTF-8")]).expect_success();
    assert!(!ended.stderr.contains(REMEMBERED), "{ended:#?}");
    let ended = predict(&bench, &["--locked"]);
    assert!(ended.code == 1 && ended.stderr.contains("plugin trust add"), "{ended:#?}");
    fs::set_permissions(&plugin, Permissions::from_mode(0o666)).expect("ours");
    predict(&bench, &[]).expect_failure(&["libmine.so", "is writable for everybody"]);

    // Another file in its place is not what trained the model.
    fs::remove_file(&plugin).expect("ours");
    fs::copy(artifact::plugin("base"), &plugin).expect("copied");
    unknown(&predict(&bench, &[]));
    fs::remove_file(&plugin).expect("ours");
    unknown(&predict(&bench, &[]));
    // One that is found by its id will do.
    let folder = bench.folder().join("plugins");
    fs::create_dir(&folder).expect("writable");
    fs::copy(&copy, folder.join("libbrier.so")).expect("copied");
    let model = bench.fold().parent().expect("a model").to_owned();
    let mut host = bench.host();
    host.env("TRAINER_PLUGIN_PATH", &folder).arg("predict").arg("--model").arg(model).arg("--input").arg(bench.raw.folder.join("imagesTr"));
    let ended = Ended::of({
        host.arg("--output").arg(bench.folder().join("predicted")).args(["--device", "cpu"]);
        host
    });
    ended.expect_success();
}

#[test]
fn nothing_in_a_model_leads_to_a_path() {
    let bench = Bench::new();
    trained(&bench, &[]);
    let checkpoint = bench.fold().join("checkpoint_final.safetensors");
    let hash = header(&checkpoint)["identity"]["library"]["sha256"].as_str().expect("a hash").to_owned();
    assert_eq!(note(&bench).file_name().and_then(|name| name.to_str()), Some(hash.as_str()));
    // A hash that is a path, to a note that leads to the library.
    let elsewhere = bench.folder().join("elsewhere");
    fs::copy(note(&bench), &elsewhere).expect("copied");
    for forged in [elsewhere.display().to_string(), format!("../../../../{}", elsewhere.file_name().expect("a name").display())] {
        change_header(&checkpoint, |header| header["identity"]["library"]["sha256"] = forged.into());
        unknown(&predict(&bench, &[]));
    }
    // And the hash of something else.
    change_header(&checkpoint, |header| header["identity"]["library"]["sha256"] = "0".repeat(64).into());
    unknown(&predict(&bench, &[]));
    change_header(&checkpoint, |header| header["identity"]["library"]["sha256"] = hash.clone().into());
    predict(&bench, &[]).expect_success();
    // A note that others could have written is none.
    fs::set_permissions(note(&bench), Permissions::from_mode(0o666)).expect("ours");
    let ended = predict(&bench, &[]);
    unknown(&ended);
    assert!(ended.stderr.contains("left out"), "{ended:#?}");
}

#[test]
fn a_state_folder_that_cannot_be_written_is_one_warning() {
    let bench = Bench::new();
    let parent: &Path = &bench.folder().join(".local");
    fs::write(parent, "no folder").expect("writable");
    let plugin = bench.folder().join("libmine.so");
    fs::copy(artifact::fixture("brier"), &plugin).expect("copied");
    let ended = bench.train(&plugin, &["--no-validation"]).expect_success();
    assert_eq!(ended.stderr.matches("predictions with this model will need --plugin").count(), 1, "{ended:#?}");
}
