//! Our side of `tests/compare/evaluate` without files: measures the surfaces of five labels in pairs of label maps.
//!
//! usage: bench-surface REFERENCES PREDICTIONS TOLERANCE
//!
//! Prints the `seconds` of all metrics of all pairs, which lie in both folders under one name.

use imaging::io::read_labels;
use imaging::surface::{SurfaceScratch, surface_metrics};
use std::path::Path;
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [references, predictions, tolerance] = arguments.as_slice() else {
        panic!("usage: bench-surface REFERENCES PREDICTIONS TOLERANCE");
    };
    let tolerance = tolerance.parse().expect("TOLERANCE is a number");
    let (mut scratch, mut time) = (SurfaceScratch::default(), Duration::ZERO);
    for file in std::fs::read_dir(references).expect("REFERENCES is a folder").flatten() {
        let reference = read_labels(&file.path()).expect("a label map");
        let prediction = read_labels(&Path::new(predictions).join(file.file_name())).expect("a label map").volume;
        let (spatial, spacing) = (reference.volume.spatial(), reference.geometry.spacing());
        let start = Instant::now();
        for label in 1..=5 {
            std::hint::black_box(surface_metrics(
                prediction.data(),
                reference.volume.data(),
                spatial,
                spacing,
                &[label],
                tolerance,
                &mut scratch,
            ));
        }
        time += start.elapsed();
    }
    println!("seconds {:.4}", time.as_secs_f64());
}
