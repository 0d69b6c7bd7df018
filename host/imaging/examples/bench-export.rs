//! Our side of `tests/compare/export`: makes a label map of the logits in a raw file and prints what that took.
//!
//! usage: bench-export INPUT OUTPUT SHAPE NEW_SHAPE SPACING NEW_SPACING THREADS
//!
//! SHAPE is written C,Z,Y,X and the other shapes and spacings Z,Y,X. INPUT holds float32, OUTPUT will hold int16, both in C order and the
//! machine's byte order. The rule is the one that nnU-Net's planners write, and class `i` gets label `i`. Prints `seconds S` and
//! `megabytes M`, the latter being how much the call added to resident memory at its peak, output included.

use imaging::VolumeView;
use imaging::resample::{Rule, resample_argmax};
use std::fs;
use std::io::Read;
use std::str::FromStr;
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, output, shape, new_shape, spacing, new_spacing, threads] = arguments.as_slice() else {
        panic!("usage: bench-export INPUT OUTPUT SHAPE NEW_SHAPE SPACING NEW_SPACING THREADS");
    };
    let (shape, new_shape) = (numbers::<usize, 4>(shape), numbers(new_shape));
    let (spacing, new_spacing) = (numbers(spacing), numbers(new_spacing));
    let threads = threads.parse().expect("THREADS is a number");
    let mut data = vec![0.0f32; shape.iter().product()];
    let mut file = fs::File::open(input).expect("the input cannot be opened");
    file.read_exact(bytemuck::cast_slice_mut(&mut data)).expect("the input is too short");
    let logits = VolumeView { shape, data: &data };
    let values: Vec<i16> = (0..shape[0] as i16).collect();
    let labels = measured(|| resample_argmax(logits, new_shape, spacing, new_spacing, Rule::LINEAR, &values, threads));
    fs::write(output, bytemuck::cast_slice(labels.data())).expect("the output cannot be written");
}

fn numbers<T: FromStr, const COUNT: usize>(text: &str) -> [T; COUNT] {
    let numbers: Vec<T> = text.split(',').filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("'{text}' does not have {COUNT} numbers"))
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
