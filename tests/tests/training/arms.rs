//! Several runs on the same batches: each is what it would be alone, and the report tells them apart.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use tests::artifact;
use tests::picture::expect_drawn;
use tests::program::{Bench, tensors_of};

/// Small steps.
const ARGUMENTS: [&str; 8] = ["--configuration", "tiny", "--epochs", "4", "--iterations", "30", "--val-iterations", "2"];

fn arm(name: &str, plugin: &str) -> String {
    format!("{name}={}", artifact::plugin(plugin).display())
}

fn fold(bench: &Bench, model: &str) -> PathBuf {
    bench.results().join(format!("Dataset001_Small/{model}__nnUNetPlans__tiny/fold_0"))
}

fn weights(bench: &Bench, model: &str) -> BTreeMap<String, Vec<u8>> {
    tensors_of(&fold(bench, model).join("checkpoint_final.safetensors"))
}

fn report(bench: &Bench, name: &str) -> Value {
    let path = bench.results().join(format!("Dataset001_Small/comparison-{name}__nnUNetPlans__tiny/report.json"));
    serde_json::from_str(&fs::read_to_string(path).expect("reported")).expect("JSON")
}

#[test]
fn each_arm_is_what_it_would_be_alone_also_after_a_kill() {
    let double = ["--set", "b.outputs.segmentation.loss=[\"dice\",\"ce\"]", "--set", "b.outputs.segmentation.weight=2"];
    let (a, b) = (arm("a", "base"), arm("b", "multi-output"));
    let together: Vec<&str> = ARGUMENTS.into_iter().chain(["--arm", &a, "--arm", &b]).chain(double).collect();
    let bench = Bench::new();
    bench.plan_tiny();
    bench.train_arms(&together).expect_success();

    let alone = Bench::new();
    alone.plan_tiny();
    let named = |name: &'static str| ARGUMENTS.into_iter().chain(["--name", name]);
    alone.train(&artifact::plugin("base"), &named("a").collect::<Vec<_>>()).expect_success();
    let own = ["--set", "outputs.segmentation.loss=[\"dice\",\"ce\"]", "--set", "outputs.segmentation.weight=2"];
    alone.train(&artifact::plugin("multi-output"), &named("b").chain(own).collect::<Vec<_>>()).expect_success();

    let killed = Bench::new();
    killed.plan_tiny();
    let resume = [&together[..], &["--resume"]].concat();
    let saving = [&resume[..], &["--checkpoint-minutes", "1e-9"]].concat();
    // Of 120 steps, with a checkpoint after each. The arms write their checkpoints one after the other: the first is then ahead of the second.
    for point in ["train.step 15", "renamed checkpoint_latest.safetensors 51", "rename checkpoint_latest.safetensors 30"] {
        killed.train_arms_killed(&saving, point);
    }
    killed.train_arms(&resume).expect_success();

    for model in ["base-a", "multi-output-b"] {
        let expected = weights(&alone, model);
        assert!(weights(&bench, model) == expected, "{model} has other weights than alone");
        assert!(weights(&killed, model) == expected, "{model} has other weights after it was killed");
        let [together, alone, killed] = [&bench, &alone, &killed].map(|bench| bench.lasting_records_of(&fold(bench, model)));
        assert_eq!(together, alone);
        assert_eq!(killed, alone);
    }
    assert_eq!(report(&bench, "a-b"), report(&killed, "a-b"));
}

#[test]
fn the_same_plugin_twice_differs_in_nothing() {
    let bench = Bench::new();
    bench.plan_tiny();
    let (a, b) = (arm("a", "base"), arm("b", "base"));
    let ended = bench.train_arms(&ARGUMENTS.into_iter().chain(["--arm", &a, "--arm", &b]).collect::<Vec<_>>()).expect_success();
    assert!(weights(&bench, "base-a") == weights(&bench, "base-b"));
    let report = report(&bench, "a-b");
    for row in report[0]["rows"].as_array().expect("rows") {
        assert_eq!((&row["difference"], &row["interval"], &row["p"]), (&0.0.into(), &serde_json::json!([0.0, 0.0]), &1.0.into()), "{row}");
    }
    assert!(ended.stdout.contains("no difference between b and a is shown"), "{ended:#?}");
}

#[test]
fn a_worse_arm_is_found() {
    let bench = Bench::new();
    bench.raw.multiply(50);
    bench.plan_tiny();
    let (a, b) = (arm("a", "base"), arm("slow", "base"));
    let arms = ["--arm", &a, "--arm", &b, "--arm-training", "slow=--learning-rate 1e-9", "--iterations", "60"];
    let arguments: Vec<&str> = ARGUMENTS.into_iter().filter(|word| !["--iterations", "30"].contains(word)).chain(arms).collect();
    let ended = bench.train_arms(&arguments).expect_success();
    let report = report(&bench, "a-slow");
    let row = &report[0]["rows"][0];
    assert_eq!((&row["output"], &row["label"], &row["pairs"]), (&"segmentation".into(), &"mean".into(), &10.into()));
    assert!(row["difference"].as_f64().is_some_and(|difference| difference < 0.0), "{row}");
    assert!(row["p"].as_f64().is_some_and(|p| p < 0.01), "{row}");
    assert!(ended.stdout.contains("slow is worse than a"), "{ended:#?}");
    let files = bench.results().join("Dataset001_Small/comparison-a-slow__nnUNetPlans__tiny");
    for file in ["report.txt", "differences.csv"] {
        assert!(files.join(file).is_file(), "{file}");
    }
    expect_drawn(&files.join("report.png"));

    // The same of runs that are there already.
    let results = bench.results().display().to_string();
    let test = ["runs", "test", "base-a__nnUNetPlans__tiny", "base-slow__nnUNetPlans__tiny", "--output", &results];
    let ended = bench.run(&test).expect_success();
    assert!(ended.stdout.contains("base-slow is worse than base-a"), "{ended:#?}");
}

#[test]
fn arms_that_cannot_be_compared_are_refused() {
    let bench = Bench::new();
    bench.plan_tiny();
    let (a, b) = (arm("a", "base"), arm("b", "base"));
    let refused = |further: &[&str], words: &[&str]| {
        bench.train_arms(&ARGUMENTS.into_iter().chain(further.iter().copied()).collect::<Vec<_>>()).expect_refusal(words);
    };
    refused(&["--arm", &a], &["--arm was given once"]);
    refused(&["--arm", &a, "--arm", &b, "--set", "c.weight=1"], &["--set c.weight=1: there is no arm 'c'"]);
    let accumulates = ["--arm", &a, "--arm", &b, "--arm-training", "b=--accumulate 2"];
    refused(&accumulates, &["different batches", "a takes 1 a step, b 2", "--accumulate"]);
    let misspelt = format!("c={}", artifact::plugin("multi-output").display());
    let options = ["--arm", &a, "--arm", &misspelt, "--set", "c.outputs.segmentation.loss=dise"];
    refused(&options, &["arm c: ", "there is no loss 'dise': did you mean 'dice'?"]);
    refused(&["--arm", &a, "--arm", &b, "--early-stop", "3"], &["--early-stop does not go with --arm"]);
    let other = format!("b={}", artifact::fixture("brier").display());
    refused(&["--arm", &a, "--arm", &other], &["data keys are", "asks for augmentation"]);
    assert!(!bench.results().exists(), "nothing is written");
}
