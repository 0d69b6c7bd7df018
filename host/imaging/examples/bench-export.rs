//! Our side of `tests/compare/export`: makes a label map of the logits in a raw file and prints what that took.
//!
//! usage: bench-export INPUT OUTPUT SHAPE NEW_SHAPE SPACING NEW_SPACING THREADS
//!
//! SHAPE is written C,Z,Y,X and the other shapes and spacings Z,Y,X. INPUT holds float32, OUTPUT will hold int16, both in C order and the
//! machine's byte order. The rule is the one that nnU-Net's planners write, and class `i` gets label `i`. Prints `seconds S` and
//! `megabytes M`, the latter being how much the call added to resident memory at its peak, output included.

mod measure;

use imaging::VolumeView;
use imaging::resample::{Rule, resample_argmax};
use measure::{measured, numbers};
use std::fs;
use std::io::Read;

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
