//! Our side of `tests/compare/resample`: resamples one raw array a start and prints what that took.
//!
//! usage: bench-resample image|labels INPUT OUTPUT SHAPE SPACING NEW_SPACING
//!
//! Triples are written Z,Y,X. Files hold float32 (images) or int16 (labels) in C order and the machine's byte order. The rule is the
//! one that nnU-Net's planners write. Prints `seconds S` and `megabytes M`, the latter being how much the call added to resident
//! memory at its peak, output included.

use imaging::Volume;
use imaging::resample::{Rule, new_shape, resample_image, resample_labels};
use std::fs;
use std::str::FromStr;
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, input, output, shape, spacing, new_spacing] = arguments.as_slice() else {
        panic!("usage: bench-resample image|labels INPUT OUTPUT SHAPE SPACING NEW_SPACING");
    };
    let (shape, spacing, new_spacing) = (triple(shape), triple(spacing), triple(new_spacing));
    let target = new_shape(shape, spacing, new_spacing);
    let volume_shape = [1, shape[0], shape[1], shape[2]];
    let bytes = fs::read(input).expect("the input cannot be read");
    let out: Vec<u8> = if kind == "image" {
        let image = Volume::new(volume_shape, bytes.as_chunks().0.iter().map(|&value| f32::from_ne_bytes(value)).collect());
        drop(bytes);
        let out = measured(|| resample_image(&image, target, spacing, new_spacing, Rule::CUBIC));
        out.data().iter().flat_map(|value| value.to_ne_bytes()).collect()
    } else {
        let labels = Volume::new(volume_shape, bytes.as_chunks().0.iter().map(|&value| i16::from_ne_bytes(value)).collect());
        drop(bytes);
        let out = measured(|| resample_labels(&labels, target, spacing, new_spacing, Rule::LINEAR));
        out.data().iter().flat_map(|value| value.to_ne_bytes()).collect()
    };
    fs::write(output, out).expect("the output cannot be written");
}

fn triple<T: FromStr>(text: &str) -> [T; 3] {
    let numbers: Vec<T> = text.split(',').filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("'{text}' is no Z,Y,X"))
}

/// Runs `work` and prints its seconds and megabytes.
fn measured<T>(work: impl FnOnce() -> T) -> T {
    // Resident memory so far becomes the peak so far.
    fs::write("/proc/self/clear_refs", "5").expect("peak memory cannot be reset");
    let before = resident_kilobytes("VmRSS:");
    let start = Instant::now();
    let out = work();
    println!("seconds {:.4}", start.elapsed().as_secs_f64());
    println!("megabytes {:.1}", (resident_kilobytes("VmHWM:") - before) / 1024.0);
    out
}

fn resident_kilobytes(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("memory cannot be measured");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel names it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
