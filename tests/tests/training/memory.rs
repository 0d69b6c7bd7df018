//! Memory over 2,000 steps, with plugins of both doors.

use std::path::Path;
use tests::artifact;
use tests::program::Bench;

/// Growth that is no leak, MiB per 1,000 steps: of what is allocated, and of pages, between which free memory lies.
const MOST: [f64; 2] = [0.5, 1.0];

fn is_flat(plugin: &Path) {
    let growth = growth(plugin, 40, &[]);
    assert!(growth[0] < MOST[0] && growth[1] < MOST[1], "{}: grows by {growth:?} MiB per 1,000 steps", plugin.display());
}

#[test]
fn memory_is_flat_over_two_thousand_steps() {
    is_flat(&artifact::fixture("brier"));
}

#[test]
fn memory_is_flat_over_two_thousand_steps_through_the_c_door() {
    is_flat(&artifact::cpp_plugin());
}

#[test]
fn a_leak_of_a_kilobyte_a_step_shows() {
    let growth = growth(&artifact::fixture("faulty"), 20, &["--set", "fault=leaks_a_kilobyte"]);
    assert!((0.9..1.3).contains(&growth[0]), "1,000 KiB leak in 1,000 steps, but {growth:?} MiB show");
}

/// Trains some epochs of 50 steps; MiB by which what is allocated, and pages, grow in 1,000 steps.
fn growth(plugin: &Path, epochs: usize, further: &[&str]) -> [f64; 2] {
    // Huge pages would make memory grow in steps of 2 MiB.
    // SAFETY: a setting of this process and of the programs that it starts.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    let bench = Bench::new();
    bench.plan_tiny();
    let epochs = epochs.to_string();
    let arguments = ["--configuration", "tiny", "--epochs", &epochs, "--iterations", "50", "--checkpoint-every", "10", "--examples", "0"];
    bench.train(plugin, &[&arguments[..], further].concat()).expect_success();
    // At first, memory is still being found: caches of libtorch, batches of the loader.
    let records = &bench.records()[10..];
    ["allocated", "memory"].map(|field| {
        let memory: Vec<f64> = records.iter().map(|record| record[field].as_f64().expect("a number")).collect();
        // Several megabytes of weights, moments and batches.
        assert!(memory.iter().all(|memory| *memory > 2.0), "'{field}' is not told: {memory:?}");
        let slope = slope(&memory) / 50.0 * 1000.0;
        println!("{}: {field} grows by {slope:.3} MiB per 1,000 steps: {memory:.2?}", plugin.display());
        slope
    })
}

/// Least squares, a step of the list.
fn slope(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let (mean_x, mean_y) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let x = |i: usize| i as f64 - mean_x;
    let covariance: f64 = values.iter().enumerate().map(|(i, y)| x(i) * (y - mean_y)).sum();
    covariance / (0..values.len()).map(|i| x(i).powi(2)).sum::<f64>()
}
