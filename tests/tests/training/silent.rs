//! What every run looks at by itself: writes to what is lent, predictions that will not come back, epochs that train nothing, options, extensions.

use serde_json::Value;
use std::fs;
use tests::artifact;
use tests::checkpoint::{change_header, header};
use tests::native;
use tests::program::{Bench, Ended};

fn train(bench: &Bench, mistake: &str, further: &[&str]) -> Ended {
    let mistake = format!("mistake={mistake}");
    bench.train(&artifact::fixture("silent"), &[&["--set", &mistake, "--no-validation"], further].concat())
}

/// Lines of the log that have these words.
fn count(ended: &Ended, words: &[&str]) -> usize {
    ended.stdout.lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

#[test]
fn a_trainer_that_prediction_cannot_make_again_ends_the_run_at_the_first_checkpoint() {
    for mistake in ["own_random_tensor", "field_from_training", "threshold_in_state"] {
        let bench = Bench::new();
        train(&bench, mistake, &["--epochs", "3"]).expect_failure(&[
            "plugin silent 1.0.0",
            "as prediction makes it",
            "'segmentation'",
            "save_state",
        ]);
        assert!(bench.records().len() <= 1, "{mistake}: it is noticed at once");
    }
    let bench = Bench::new();
    let ended = train(&bench, "none", &[]).expect_success();
    assert_eq!(count(&ended, &["Warning"]), 0, "{ended:#?}");
}

#[test]
fn writes_to_what_is_lent_are_errors() {
    train(&Bench::new(), "writes_in_validation", &[]).expect_failure(&["loss wrote to level 0 of target 'segmentation'", "copy it"]);
    train(&Bench::new(), "writes_in_metrics", &[]).expect_failure(&["metrics wrote to batch.image"]);
}

#[test]
fn an_epoch_that_trains_nothing_is_an_error_or_named() {
    train(&Bench::new(), "no_term", &[]).expect_failure(&["plugin silent 1.0.0", "no term", "epoch 0"]);
    for (mistake, words) in [("all_weights_zero", ["weight 0", "nothing was trained"]), ("no_samples", ["'brier'", "about no sample"])] {
        let ended = train(&Bench::new(), mistake, &["--epochs", "2"]).expect_success();
        assert_eq!(count(&ended, &[&["Warning"][..], &words].concat()), 1, "once: {ended:#?}");
    }
}

#[test]
fn a_learned_weight_that_goes_to_nothing_is_named() {
    let rate = ["--loss-weights-rate", "10000", "--epochs", "3", "--iterations", "8"];
    let ended = train(&Bench::new(), "no_price", &rate).expect_success();
    assert_eq!(count(&ended, &["Warning", "learned weight of term 'brier'", "1 %"]), 1, "{ended:#?}");
}

#[test]
fn options_are_what_the_schema_says_and_extensions_are_listed() {
    let plugin = native::faulty_cpp();
    let bench = Bench::new();
    bench.train(&plugin, &["--set", "weight=abc"]).expect_refusal(&["plugin faulty-cpp", "option 'weight'", "number"]);
    assert!(!bench.results().join("Dataset001_Small").exists(), "nothing is written");
    let arms = [&format!("--arm=a={}", plugin.display())[..], &format!("--arm=b={}", plugin.display()), "--set=b.weight=abc"];
    bench.train_arms(&arms).expect_refusal(&["arm b", "option 'weight'"]);

    let ended = bench.train(&plugin, &["--set", "weight=2"]).expect_success();
    assert_eq!(count(&ended, &["Extensions of the plugin: trainer.metrics/1, trainer.target-transform/1"]), 1, "{ended:#?}");
    // Another version of the plugin, whose weight is text: what was begun goes on.
    let other = |arguments: &[&str]| {
        let mut host = bench.host();
        host.args(arguments).env("FAULTY_CPP", "a weight is text");
        Ended::of(host)
    };
    let model = bench.fold().parent().expect("a model").to_owned();
    let places = [model, bench.raw.folder.join("imagesTr"), bench.folder().join("predicted"), plugin];
    let [model, input, output, plugin] = places.each_ref().map(|path| path.to_str().expect("UTF-8"));
    let ended =
        other(&["predict", "--model", model, "--input", input, "--output", output, "--plugin", plugin, "--device", "cpu"]).expect_success();
    assert!(ended.stderr.contains("option 'weight'"), "{ended:#?}");
}

#[test]
fn another_build_that_predicts_something_else_is_named_for_every_fold() {
    let bench = Bench::new();
    for fold in ["0", "1"] {
        train(&bench, "none", &["--fold", fold]).expect_success();
    }
    let plugin = artifact::fixture("silent");
    let model = bench.fold().parent().expect("a model").to_owned();
    let predict = |to: &str, other: bool| {
        let places = [&model, &bench.raw.folder.join("imagesTr"), &bench.folder().join(to), &plugin];
        let [model, input, output, plugin] = places.map(|path| path.to_str().expect("UTF-8"));
        let mut host = bench.host();
        host.args(["predict", "--model", model, "--input", input, "--output", output, "--plugin", plugin, "--device", "cpu"]);
        host.envs(other.then_some(("SILENT_OTHER_BUILD", "1")));
        Ended::of(host).expect_success().stderr
    };
    let warned =
        |text: &str| text.lines().filter(|line| line.contains("does not predict what was trained")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(warned(&predict("same", false)), Vec::<String>::new());
    let lines = warned(&predict("other", true));
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, fold) in lines.iter().zip(["fold_0", "fold_1"]) {
        assert!([fold, "silent 1.0.0", "sha256", "predictions of 'segmentation'"].iter().all(|word| line.contains(word)), "{line}");
    }
    // Checkpoints from before have no probe.
    for fold in ["fold_0", "fold_1"] {
        let path = model.join(fold).join("checkpoint_final.safetensors");
        change_header(&path, |header| drop(header.as_object_mut().expect("an object").shift_remove("probe")));
        assert_eq!(header(&path)["probe"], Value::Null);
    }
    assert_eq!(warned(&predict("old", true)), Vec::<String>::new());
    assert!(fs::exists(bench.folder().join("old/case_000.nii")).expect("readable"));
}
