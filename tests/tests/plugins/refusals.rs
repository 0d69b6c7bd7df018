//! What the program refuses: exit code 1, one line that names what was found, what was expected and where, and nothing half-written.

use imaging::Volume;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tests::artifact::{self, Api};
use tests::case::SIZE;
use tests::program::Bench;

/// The plugin is refused before anything is written.
fn refuses_plugin(bench: &Bench, plugin: &Path, words: &[&str]) {
    bench.train(plugin, &[]).expect_refusal(words);
    assert!(!bench.results().exists(), "results were begun");
    assert!(!bench.folder().join("preprocessed").exists(), "preprocessing was begun");
}

/// The trainer cannot be made: the data may be ready by then, but there are no results.
fn refuses_options(bench: &Bench, plugin: &Path, options: &[&str], words: &[&str]) {
    let arguments: Vec<&str> = options.iter().flat_map(|option| ["--set", option]).collect();
    bench.train(plugin, &arguments).expect_refusal(words);
    assert!(!bench.results().exists(), "results were begun");
    assert_eq!(bench.half_written(), [] as [PathBuf; 0]);
}

/// Training ends with this error, and no checkpoint holds what the fault has spoilt.
fn refuses_step(fault: &str, words: &[&str]) {
    let bench = Bench::new();
    bench.train(&artifact::fixture("faulty"), &["--set", &format!("fault={fault}")]).expect_refusal(words);
    let checkpoints =
        fs::read_dir(bench.fold()).expect("the fold was begun").filter_map(|entry| entry.expect("readable").file_name().into_string().ok());
    assert_eq!(checkpoints.filter(|name| name.contains("checkpoint")).collect::<Vec<_>>(), [] as [&str; 0]);
    assert_eq!(bench.half_written(), [] as [PathBuf; 0]);
}

/// The data set is refused, whatever was changed in it.
fn refuses_data(bench: &Bench, words: &[&str]) {
    bench.train(&artifact::plugin("base"), &[]).expect_refusal(words);
    assert!(!bench.results().exists(), "results were begun");
    assert_eq!(bench.half_written(), [] as [PathBuf; 0]);
}

#[test]
fn what_is_not_a_plugin() {
    let bench = Bench::new();
    let text = bench.folder().join("libtext.so");
    fs::write(&text, "not a library").expect("writable");
    refuses_plugin(&bench, &text, &["libtext.so", "is not a shared library"]);

    let other = Path::new(env!("TESTS_LIBTORCH")).join("libc10.so");
    refuses_plugin(&bench, &other, &["libc10.so", "not a trainer plugin", ".trainer.plugin"]);

    let missing = bench.folder().join("libmissing.so");
    refuses_plugin(&bench, &missing, &["libmissing.so", "does not exist"]);
    refuses_plugin(&bench, Path::new("bsae"), &["no plugin 'bsae'", "did you mean 'base'?"]);
}

#[test]
fn a_plugin_that_was_built_for_something_else() {
    let bench = Bench::new();
    let base = artifact::plugin("base");
    let api = artifact::with_manifest(&base, bench.folder(), |manifest| manifest.api = "9.0.0".to_owned());
    refuses_plugin(&bench, &api, &["libpatched.so", "plugin-api 9.0.0", plugin_api::manifest::API_VERSION]);
    let libtorch = artifact::with_manifest(&base, bench.folder(), |manifest| manifest.libtorch = "2.1.0".to_owned());
    refuses_plugin(&bench, &libtorch, &["libpatched.so", "libtorch 2.1.0", plugin_api::manifest::LIBTORCH]);
    let abort = artifact::with_manifest(&base, bench.folder(), |manifest| manifest.panic = "abort".to_owned());
    refuses_plugin(&bench, &abort, &["libpatched.so", "panic = \"abort\"", "unwind"]);
    let layout = artifact::fixture_against("brier", Api::AnotherLayout);
    refuses_plugin(&bench, &layout, &["libbrier_of_another_layout.so", "another layout", "expected", "found"]);
}

#[test]
fn a_plugin_that_anybody_may_write_to() {
    let bench = Bench::new();
    let copy = bench.folder().join("libopen.so");
    fs::copy(artifact::plugin("base"), &copy).expect("writable");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o777)).expect("ours");
    refuses_plugin(&bench, &copy, &["libopen.so", "writable for everybody", "chmod"]);
}

#[test]
fn options_that_do_not_fit() {
    let bench = Bench::new();
    let (base, multi) = (artifact::plugin("base"), artifact::plugin("multi-output"));
    refuses_options(&bench, &base, &["weight=2"], &["plugin base", "unknown option 'weight'", "there are none"]);
    refuses_options(&bench, &multi, &["outputs.segmentation.wieght=2"], &["'outputs.segmentation.wieght'", "did you mean 'weight'?"]);
    refuses_options(&bench, &multi, &["outputs.liver.weight=1"], &["output 'liver'", "no target 'liver'", "segmentation"]);
    refuses_options(&bench, &multi, &["outputs.segmentation.loss=mse"], &["output 'segmentation'", "loss mse", "kind labels"]);
    for fault in ["fault=overflowing_parameter", "fault=huge_parameter"] {
        let words = ["plugin faulty", "'plugin.huge'", "all parameters of this network together"];
        refuses_options(&bench, &artifact::fixture("faulty"), &[fault], &words);
    }
    refuses_options(&bench, &artifact::fixture("faulty"), &["fault=panic_new"], &["plugin faulty", "new", "src/lib.rs:", "as asked for"]);
}

#[test]
fn panics_in_a_step() {
    refuses_step("panic_forward", &["plugin faulty", "forward", "src/lib.rs:", "as asked for"]);
    refuses_step("panic_without_gradients", &["plugin faulty", "forward", "src/lib.rs:", "as asked for"]);
    refuses_step("panic_loss", &["plugin faulty", "loss", "src/lib.rs:", "as asked for"]);
}

#[test]
fn tensors_that_must_not_be() {
    refuses_step("nan_loss", &["plugin faulty", "loss", "term 'segmentation'", "NaN", "epoch 0, iteration 0, cases case_00"]);
    refuses_step("unreduced_loss", &["plugin faulty", "loss", "term 'segmentation'", "shape [2]", "expected []"]);
    refuses_step("wrong_shape", &["plugin faulty", "forward", "output 'segmentation'", "[2, 1, 16, 16, 16]", "[2, 3, 16, 16, 16]"]);
    refuses_step("missing_level", &["plugin faulty", "forward", "output 'segmentation'", "expected"]);
    refuses_step("undeclared_output", &["plugin faulty", "forward", "'surprise'", "did not declare"]);
}

#[test]
fn broken_data() {
    let bench = Bench::new();
    let whole = fs::read(bench.raw.image(3)).expect("just written");
    fs::write(bench.raw.image(3), &whole[..whole.len() / 2]).expect("writable");
    refuses_data(&bench, &["case_003_0000.nii", "bytes"]);
    fs::write(bench.raw.image(3), &whole).expect("writable");

    bench.raw.relabel(2, |mut labels| {
        labels.data_mut()[0] = 7;
        labels
    });
    refuses_data(&bench, &["case_002.nii", "label value 7", "dataset.json", "ball (1)"]);

    bench.raw.relabel(2, |_| Volume::filled([1, SIZE, SIZE, SIZE - 1], 0));
    refuses_data(&bench, &["case_002.nii", "[16, 16, 15]", "[16, 16, 16]", "case_002_0000.nii"]);

    bench.raw.relabel(2, |labels| labels);
    bench.raw.describe(json!({"targets": {"whole": {"kind": "labels", "folder": "whole", "labels": {"background": 0, "organ": 1}}}}));
    refuses_data(&bench, &["targetsTr/whole/case_000.nii", "not found", "whole"]);

    bench.raw.describe(json!({}));
    fs::remove_file(bench.raw.labels(4)).expect("ours");
    refuses_data(&bench, &["case_004.nii", "not found"]);
}

#[test]
fn a_fold_that_is_there() {
    let bench = Bench::new();
    let base = artifact::plugin("base");
    bench.train(&base, &[]).expect_success();
    let before = bench.final_tensors();
    bench.train(&base, &["--seed", "1"]).expect_refusal(&["fold_0", "--resume", "--overwrite"]);
    assert!(bench.final_tensors() == before, "the fold was touched");
    bench.train(&base, &["--seed", "1", "--resume"]).expect_refusal(&["checkpoint_final", "data_key", "--resume-anyway"]);
    assert!(bench.final_tensors() == before, "the fold was touched");
    bench.train(&base, &["--seed", "1", "--overwrite"]).expect_success();
    assert!(bench.final_tensors() != before, "the fold was not replaced");
}

#[test]
fn a_full_disk_leaves_the_previous_checkpoint() {
    let bench = Bench::new();
    let base = artifact::plugin("base");
    bench.train_interrupted(&base, &["--epochs", "1000"], "train.step 4");
    let latest = bench.fold().join("checkpoint_latest.safetensors");
    let before = fs::read(&latest).expect("saved");

    let resume = ["--epochs", "1000", "--resume"];
    bench.train_on_full_disk(&base, &resume, before.len() as u64 / 1024 / 2).expect_refusal(&["checkpoint", "File too large"]);
    assert!(fs::read(&latest).expect("still there") == before, "the previous checkpoint has changed");
    assert_eq!(bench.half_written(), [] as [PathBuf; 0]);

    let resumed = bench.train_interrupted(&base, &resume, "train.step 4");
    assert!(fs::read(&latest).expect("saved") != before, "nothing was learned");
    assert!(resumed.stdout.contains("Resumed at epoch"), "{resumed:#?}");
}
