//! What the programs for `tests/compare` share: numbers from the command line, and what a call takes.

use std::fs;
use std::str::FromStr;
use std::time::Instant;

/// Numbers with commas between them.
pub fn numbers<T: FromStr, const COUNT: usize>(text: &str) -> [T; COUNT] {
    let numbers: Vec<T> = text.split(',').filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().unwrap_or_else(|_| panic!("'{text}' does not have {COUNT} numbers"))
}

/// Runs `work` and prints its seconds and megabytes.
pub fn measured<T>(work: impl FnOnce() -> T) -> T {
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
