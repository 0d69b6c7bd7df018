//! Surface metrics against DeepMind's surface-distance; `golden/make_surface.py` made the numbers.

use imaging::surface::{SurfaceMetrics, SurfaceScratch, surface_metrics};
use serde::Deserialize;

#[derive(Deserialize)]
struct Record {
    name: String,
    shape: [usize; 3],
    spacing: [f64; 3],
    tolerance: f64,
    values: Vec<i16>,
    /// Runs: value, length, value, length.
    prediction: Vec<i16>,
    reference: Vec<i16>,
    /// As text, since JSON has neither infinity nor NaN.
    metrics: [String; 8],
}

const NAMES: [&str; 8] = ["nsd", "hd", "hd95", "assd", "to_reference", "to_prediction", "volume_difference", "relative"];

#[test]
fn metrics_equal_those_of_surface_distance() {
    let deviations = compare(include_str!("golden/surface.json"));
    assert!(deviations.is_empty(), "{deviations:#?}");
}

/// Cases of `make_surface.py FILE CASES`.
#[test]
#[ignore = "needs a file of random cases, which SURFACE_CASES names"]
fn metrics_of_random_cases_equal_those_of_surface_distance() {
    let file = std::env::var("SURFACE_CASES").expect("SURFACE_CASES is set");
    let deviations = compare(&std::fs::read_to_string(file).expect("file is readable"));
    assert!(deviations.is_empty(), "{}: {deviations:#?}", deviations.len());
}

/// What deviates by more than the rounding of f32.
fn compare(records: &str) -> Vec<String> {
    let records: Vec<Record> = serde_json::from_str(records).expect("golden file is valid");
    assert!(!records.is_empty());
    let (mut scratch, mut deviations, mut largest) = (SurfaceScratch::default(), Vec::new(), [0.0_f64; 8]);
    for record in records {
        let [prediction, reference] = [&record.prediction, &record.reference].map(|runs| labels(runs));
        let Record { shape, spacing, ref values, tolerance, .. } = record;
        let found = surface_metrics(&prediction, &reference, shape, spacing, values, tolerance, &mut scratch);
        for (i, (found, expected)) in numbers(&found).into_iter().zip(&record.metrics).enumerate() {
            let expected: f64 = expected.parse().expect("golden number is valid");
            if found == expected || found.is_nan() && expected.is_nan() {
                continue;
            }
            let deviation = (found - expected).abs() / expected.abs();
            largest[i] = largest[i].max(deviation);
            if deviation.is_nan() || deviation > 3e-7 {
                deviations.push(format!("{}: {} is {found} instead of {expected}", record.name, NAMES[i]));
            }
        }
    }
    println!("largest deviations: {NAMES:?} {largest:?}");
    deviations
}

fn labels(runs: &[i16]) -> Vec<i16> {
    runs.chunks_exact(2).flat_map(|run| vec![run[0]; run[1] as usize]).collect()
}

fn numbers(metrics: &SurfaceMetrics) -> [f64; 8] {
    let SurfaceMetrics { nsd, hd, hd95, assd, to_reference, to_prediction, volume_difference, relative_volume_difference } = *metrics;
    [nsd, hd, hd95, assd, to_reference, to_prediction, volume_difference, relative_volume_difference]
}
