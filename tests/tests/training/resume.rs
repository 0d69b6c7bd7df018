//! Stopping: Ctrl-C saves, and a run that goes on ends with the bytes of one that never stopped.

use tests::artifact;
use tests::program::Bench;

const ARGUMENTS: [&str; 6] = ["--epochs", "3", "--iterations", "8", "--workers", "2"];

#[test]
fn a_resumed_run_ends_with_the_same_bytes() {
    let base = artifact::plugin("base");
    let whole = Bench::new();
    whole.train(&base, &ARGUMENTS).expect_success();

    let stopped = Bench::new();
    // In the middle of the second of three epochs.
    stopped.train_interrupted(&base, &ARGUMENTS, "train.step 12");
    let resume: Vec<&str> = ARGUMENTS.into_iter().chain(["--resume"]).collect();
    let resumed = stopped.train(&base, &resume).expect_success();
    assert!(resumed.stdout.contains("Resumed at epoch 1, iteration 3\n"), "Ctrl-C saves the step at which it is pressed: {resumed:#?}");

    assert!(stopped.final_tensors() == whole.final_tensors(), "the resumed run has other weights");
    let losses = |bench: &Bench| bench.records().iter().map(|record| record["train"].clone()).collect::<Vec<_>>();
    assert_eq!(losses(&stopped), losses(&whole));
    assert_eq!(stopped.summary(), whole.summary());
}
