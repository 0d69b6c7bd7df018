//! Memory over 2,000 steps, with plugins of both doors.

use tests::artifact;
use tests::program::Bench;

/// Most that it may grow, MiB per 1,000 steps.
const MOST: f64 = 1.0;

#[test]
fn memory_is_flat_over_two_thousand_steps() {
    for plugin in [artifact::fixture("brier"), artifact::cpp_plugin()] {
        let bench = Bench::new();
        bench.plan_tiny();
        let arguments = ["--configuration", "tiny", "--epochs", "40", "--iterations", "50", "--checkpoint-every", "10", "--examples", "0"];
        bench.train(&plugin, &arguments).expect_success();
        // At first, memory is still being found: caches of libtorch, batches of the loader.
        let memory: Vec<f64> = bench.records().iter().skip(10).map(|record| record["memory"].as_f64().expect("a number")).collect();
        let slope = slope(&memory) / 50.0 * 1000.0;
        println!("{}: {slope:.3} MiB per 1,000 steps, {:.1} MiB at the end", plugin.display(), memory[memory.len() - 1]);
        assert!(slope < MOST, "{}: grows by {slope:.2} MiB per 1,000 steps: {memory:?}", plugin.display());
    }
}

/// Least squares, a step of the list.
fn slope(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let (mean_x, mean_y) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let x = |i: usize| i as f64 - mean_x;
    let covariance: f64 = values.iter().enumerate().map(|(i, y)| x(i) * (y - mean_y)).sum();
    covariance / (0..values.len()).map(|i| x(i).powi(2)).sum::<f64>()
}
