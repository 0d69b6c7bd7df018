//! `--precision`: bfloat16 comes close to single precision, float16 finds the factor of its loss, and checkpoints know both.

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::fs;
use tests::program::Bench;
use tests::{artifact, checkpoint};

/// The JSON in the header of fold 0's checkpoint `which`.
fn header(bench: &Bench, which: &str) -> Value {
    checkpoint::header(&bench.fold().join(format!("checkpoint_{which}.safetensors")))
}

fn losses(bench: &Bench) -> Vec<f64> {
    bench.records().iter().map(|record| record["train_loss"].as_f64().expect("finite")).collect()
}

#[test]
fn bf16_trains_close_to_fp32_and_keeps_its_weights_in_single_precision() {
    let base = artifact::plugin("base");
    let train = |precision: &str| {
        let bench = Bench::new();
        let ended = bench.train(&base, &["--epochs", "2", "--iterations", "10", "--precision", precision]).expect_success();
        let told = format!("Device cpu, {precision}, ");
        assert!(ended.stdout.lines().any(|line| line.contains(&told)), "no {told:?} in {ended:#?}");
        assert_eq!(header(&bench, "final")["identity"]["precision"], precision);
        bench
    };
    let (fp32, bf16) = (train("fp32"), train("bf16"));
    let (exact, close) = (losses(&fp32), losses(&bf16));
    println!("losses in fp32 {exact:?}, in bf16 {close:?}");
    assert!(
        exact.iter().zip(&close).all(|(exact, close)| close != exact && (close - exact).abs() < 0.05),
        "fp32 {exact:?}, bf16 {close:?}"
    );

    let bytes = fs::read(bf16.fold().join("checkpoint_final.safetensors")).expect("trained");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    for (name, tensor) in tensors.iter().filter(|(name, _)| *name != "plugin_state") {
        assert_eq!(tensor.dtype(), Dtype::F32, "{name}");
    }
    let resume = ["--epochs", "2", "--iterations", "10", "--resume"];
    bf16.train(&base, &resume).expect_refusal(&["its precision is \"bf16\", this run has \"fp32\"", "--resume-anyway"]);
}

/// A loss so large that the factor has to be halved a number of times.
const LARGE: [&str; 6] = ["--configuration", "tiny", "--precision", "fp16", "--set", "outputs.segmentation.weight=1000"];

#[test]
fn fp16_leaves_out_steps_that_overflow_and_halves_the_factor_of_the_loss() {
    let plugin = artifact::plugin("multi-output");
    let bench = Bench::new();
    bench.plan_tiny();
    let train = |steps: &str| {
        bench.train(&plugin, &[&LARGE[..], &["--overwrite", "--iterations", steps]].concat()).expect_success();
        let progress = header(&bench, "final")["progress"].clone();
        let factor = progress["loss_scale"]["factor"].as_f64().expect("a number");
        (factor, progress["updates"].as_u64().expect("a number"), bench.final_tensors())
    };
    let (factor, updates, weights) = train("1");
    assert_eq!((factor, updates), (32_768.0, 0), "the first step overflows");
    let (factor, updates, same) = train("2");
    assert_eq!((factor, updates), (16_384.0, 0), "so does the second");
    assert!(same == weights, "a step that was left out moved weights, or what the optimiser remembers");
    let (factor, updates, moved) = train("30");
    let halved = (65_536.0 / factor).log2();
    println!("halved {halved} times, {updates} updates");
    assert!(halved.fract() == 0.0 && halved + updates as f64 == 30.0 && updates > 0, "factor {factor}, {updates} updates");
    assert!(moved != weights, "what did not overflow trains");
}

#[test]
fn fp16_goes_on_with_the_factor_that_it_had_found() {
    let plugin = artifact::plugin("multi-output");
    let arguments = [&LARGE[..], &["--epochs", "2", "--iterations", "20"]].concat();
    let [whole, killed] = [(); 2].map(|()| {
        let bench = Bench::new();
        bench.plan_tiny();
        bench
    });
    whole.train(&plugin, &arguments).expect_success();
    killed.train_killed(&plugin, &[&arguments[..], &["--checkpoint-minutes", "1e-9"]].concat(), "train.step 18");
    let found = header(&killed, "latest")["progress"]["loss_scale"].clone();
    assert!(found["factor"].as_f64().is_some_and(|factor| factor < 65_536.0) && found["good_steps"] != 0, "{found}");
    killed.train(&plugin, &[&arguments[..], &["--resume"]].concat()).expect_success();
    assert!(killed.final_tensors() == whole.final_tensors(), "the resumed run has other weights");
    let scale = |bench: &Bench| header(bench, "final")["progress"]["loss_scale"].clone();
    assert_eq!(scale(&killed), scale(&whole));
}

#[test]
fn fp16_gives_up_where_no_factor_helps() {
    let bench = Bench::new();
    bench.plan_tiny();
    let arguments = ["--configuration", "tiny", "--precision", "fp16", "--iterations", "30", "--set", "outputs.segmentation.weight=1e30"];
    let ended = bench.train(&artifact::plugin("multi-output"), &arguments);
    // 65,536 is halved 17 times before it is less than 1.
    ended.expect_failure(&["gradients are NaN or infinite, first that of '", "--precision fp32", "epoch 0, iteration 16,"]);
}
