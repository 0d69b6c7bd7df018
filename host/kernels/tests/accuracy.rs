//! Rounding errors of every layer shape of nnU-Net's default and ResEnc L plans are within the budget: root mean square 5e-6 and at most 5e-5 of the
//! deviation of the layer's outputs, against sums in double precision.

mod reference;

use kernels::{Convolution, Graph, Instructions};
use reference::{Array, Random, activate, convolve, errors, forward};

/// Largest and root mean square error of a convolution of `channels` (in, out) on normally distributed maps of `size`.
fn error([inputs, outputs]: [usize; 2], size: [usize; 3], kernel: [usize; 3], stride: [usize; 3]) -> [f64; 2] {
    let random = &mut Random(11);
    // The engine reads images of few channels: a first layer that only copies makes maps of many.
    let image = random.normal(inputs * size.iter().product::<usize>(), 1.0);
    let mut copy = random.convolution([inputs, inputs], [1; 3], [1; 3], false);
    copy.weight = (0..inputs * inputs).map(|i| f32::from(i % inputs == i / inputs)).collect();
    copy.norm = kernels::Norm::Fixed { scale: vec![1.0; inputs], shift: vec![0.0; inputs] };
    copy.slope = 1.0;
    let layer = random.convolution([inputs, outputs], kernel, stride, false);
    // Sixteen outputs tell enough, and plain loops are slow.
    let kernels::Norm::Fixed { scale, shift } = &layer.norm else { unreachable!("asked for above") };
    let few = Convolution {
        weight: layer.weight[..layer.weight.len() / outputs * 16].to_vec(),
        outputs: 16,
        norm: kernels::Norm::Fixed { scale: scale[..16].to_vec(), shift: shift[..16].to_vec() },
        ..layer
    };
    let right = activate(convolve(&Array::new(inputs, size, &image), &few), &few.norm, few.slope);
    let mut graph = Graph::new(inputs);
    let map = graph.convolution(&[graph.image()], copy);
    let value = graph.convolution(&[map], layer);
    let found = forward(graph, &[value], &[image], [inputs, size[0], size[1], size[2]], 2, Instructions::best().expect("AVX2"));
    errors(&found[0][..right.values.len()], &right.values)
}

#[test]
fn layers_of_the_plans_stay_within_the_budget() {
    let mut worst = [0.0f64; 2];
    let cube = [3, 3, 3];
    let mut layers = Vec::new();
    for features in [32, 64, 128, 256, 320] {
        layers.push(([features; 2], cube, [1; 3]));
        layers.push(([2 * features, features], cube, [1; 3]));
        layers.push(([features / 2, features], cube, [2; 3]));
    }
    for features in [32, 256, 512] {
        layers.push(([features; 2], [1, 3, 3], [1; 3]));
        layers.push(([2 * features, features], [1, 3, 3], [1; 3]));
    }
    layers.push(([64, 128], [1; 3], [1; 3]));
    for (channels, kernel, stride) in layers {
        let size = if kernel[0] == 1 { [1, 9, 10] } else { [5, 6, 9] };
        let [largest, rms] = error(channels, size, kernel, stride);
        println!("{channels:?}, kernel {kernel:?}, stride {stride:?}: largest {largest:.1e}, rms {rms:.1e}");
        worst = [worst[0].max(largest), worst[1].max(rms)];
    }
    assert!(worst[0] <= 5e-5 && worst[1] <= 5e-6, "{worst:?}");
}
