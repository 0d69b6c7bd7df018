//! Our side of `tests/compare/resample`: resamples one raw array a start and prints what that took.
//!
//! usage: bench-resample image|labels INPUT OUTPUT SHAPE SPACING NEW_SPACING
//!
//! Triples are written Z,Y,X. Files hold float32 (images) or int16 (labels) in C order and the machine's byte order. The rule is the
//! one that nnU-Net's planners write. Prints `seconds S` and `megabytes M`, the latter being how much the call added to resident
//! memory at its peak, output included.

mod measure;

use imaging::Volume;
use imaging::resample::{Rule, new_shape, resample_image, resample_labels};
use measure::{measured, numbers};
use std::fs;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, input, output, shape, spacing, new_spacing] = arguments.as_slice() else {
        panic!("usage: bench-resample image|labels INPUT OUTPUT SHAPE SPACING NEW_SPACING");
    };
    let (shape, spacing, new_spacing) = (numbers::<usize, 3>(shape), numbers(spacing), numbers(new_spacing));
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
