//! `--weighting`: what the host does to terms' weights, over a whole run.

use serde_json::{Value, json};
use std::fs;
use tests::artifact;
use tests::program::Bench;

/// Two outputs on one target, one of which counts less.
const OUTPUTS: [&str; 6] =
    ["--set", "outputs.parts.target=segmentation", "--set", "outputs.more.target=segmentation", "--set", "outputs.more.weight=0.5"];

fn weights(record: &Value) -> [f64; 2] {
    ["parts", "more"].map(|term| record["train"][term]["weight"].as_f64().expect("recorded"))
}

#[test]
fn strategies_move_weights_and_a_resumed_run_moves_them_the_same() {
    let plugin = artifact::plugin("multi-output");
    for strategy in ["gradnorm:1.5:0.1", "dwa"] {
        let further = ["--configuration", "tiny", "--epochs", "4", "--iterations", "40", "--weighting", strategy, "--conflicts", "10"];
        let arguments: Vec<&str> = OUTPUTS.into_iter().chain(further).collect();
        let whole = Bench::new();
        whole.plan_tiny();
        whole.train(&plugin, &arguments).expect_success();
        let records = whole.records();
        let cosine = |record: &Value| record["cosines"]["parts·more"].as_f64().expect("compared");
        assert!(records.iter().any(|record| cosine(record) != cosine(&records[0])), "gradients move, and with them their cosines");
        for record in &records {
            let [parts, more] = weights(record);
            match strategy {
                // Factors of mean 1.
                "dwa" => assert!((parts + more / 0.5 - 2.0).abs() < 1e-6, "{parts} and {more}"),
                _ => assert!((parts + more - 1.5).abs() < 1e-6, "{parts} and {more}"),
            }
        }
        assert!(weights(&records[3]) != [1.0, 0.5], "{strategy} moved nothing");

        let killed = Bench::new();
        killed.plan_tiny();
        // In the second epoch, between two comparisons of gradients.
        let saving = [&arguments[..], &["--checkpoint-minutes", "1e-9"]].concat();
        killed.train_killed(&plugin, &saving, "train.step 56");
        killed.train(&plugin, &[&arguments[..], &["--resume"]].concat()).expect_success();
        assert!(killed.final_tensors() == whole.final_tensors(), "{strategy}: the resumed run has other weights");
        let train = |bench: &Bench| {
            bench.records().iter().map(|record| [&record["train"], &record["cosines"]].map(Value::clone)).collect::<Vec<_>>()
        };
        assert_eq!(train(&killed), train(&whole));
    }
}

#[test]
fn factors_over_epochs_are_logged_and_unknown_terms_refused() {
    let plugin = artifact::plugin("multi-output");
    let bench = Bench::new();
    bench.plan_tiny();
    let run = |weighting: &[&str], further: &[&str]| {
        let arguments = ["--configuration", "tiny", "--epochs", "3"].into_iter().chain(OUTPUTS);
        let arguments = arguments.chain(weighting.iter().flat_map(|weighting| ["--weighting", weighting])).chain(further.iter().copied());
        bench.train(&plugin, &arguments.collect::<Vec<_>>())
    };
    run(&["moer=constant:1"], &[]).expect_failure(&["there is no term 'moer': did you mean 'more'?"]);
    run(&["more=linear:0:1"], &["--overwrite"]).expect_success();
    let weights: Vec<f64> = bench.records().iter().map(|record| weights(record)[1]).collect();
    assert_eq!(weights, [0.0, 0.25, 0.5]);
    run(&["more=linear:0:2"], &["--resume"]).expect_refusal(&["recipe.weighting.schedules.more.linear.to is 1.0, this run has 2.0"]);

    let boundary = ["--overwrite", "--set", "outputs.parts.loss=[\"dice_ce\",\"boundary\"]"];
    run(&["dwa"], &boundary).expect_failure(&["term 'parts.boundary' has no lower bound", "--weighting parts.boundary=constant:1"]);
    run(&["dwa", "parts.boundary=warmup:2:0.1"], &boundary).expect_success();
}

#[test]
fn the_log_says_how_many_samples_a_term_saw() {
    let bench = Bench::new();
    bench.plan_tiny();
    let folder = bench.raw.folder.join("targetsTr/spots");
    fs::create_dir_all(&folder).expect("writable");
    let labels: Vec<_> = fs::read_dir(bench.raw.folder.join("labelsTr")).expect("there").flatten().map(|file| file.path()).collect();
    // Every other case has it.
    let mut labels: Vec<_> = labels.into_iter().collect();
    labels.sort();
    for label in labels.iter().step_by(2) {
        fs::copy(label, folder.join(label.file_name().expect("a file"))).expect("copied");
    }
    bench.raw.describe(json!({"targets": {"spots": {"kind": "regression", "optional": true}}}));
    let arguments = ["--configuration", "tiny", "--iterations", "12", "--set", "outputs.segmentation={}", "--set", "outputs.spots={}"];
    let ended = bench.train(&artifact::plugin("multi-output"), &arguments).expect_success();
    let record = &bench.records()[0];
    let samples = |term: &str| record["train"][term]["samples"].as_u64().expect("recorded");
    assert_eq!((record["samples"].as_u64(), samples("segmentation")), (Some(24), 24));
    let some = samples("spots");
    assert!((1..24).contains(&some));
    assert!(ended.stdout.contains(&format!("{some} of 24 samples)")), "{ended:#?}");
}

#[test]
fn a_criterion_tells_how_low_it_can_be_and_a_closure_does_not() {
    let plugin = artifact::fixture("activations");
    let bench = Bench::new();
    bench.plan_tiny();
    let run = |told: &str| {
        let arguments = ["--configuration", "tiny", "--epochs", "3", "--weighting", "dwa", "--no-validation", "--overwrite", "--set"];
        bench.train(&plugin, &[&arguments[..], &[&format!("dice={told}")]].concat())
    };
    run("no").expect_failure(&["term 'dice' is -", "Base::supervise_by", "Value::lowest"]);
    run("yes").expect_success();
}
