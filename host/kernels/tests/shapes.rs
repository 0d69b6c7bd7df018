//! Layers of any shape give what plain loops in double precision give.

mod reference;

use kernels::{Graph, Instructions, Norm};
use proptest::prelude::*;
use reference::{Array, Random, activate, add, convolve, errors, forward, pool, transpose};

/// Whatever of these this processor has.
fn instructions() -> impl Strategy<Value = Instructions> {
    let there = [Instructions::Avx2, Instructions::Avx512].into_iter().filter(|instructions| instructions.are_there());
    prop::sample::select(there.collect::<Vec<_>>())
}

/// (z, y, x) sizes; 2D has one slice.
fn size() -> impl Strategy<Value = [usize; 3]> {
    prop_oneof![[1..12usize, 1..12usize, 1..20usize], (1..30usize, 1..50usize).prop_map(|(y, x)| [1, y, x])]
}

fn images(random: &mut Random, count: usize, floats: usize) -> Vec<Vec<f32>> {
    (0..count).map(|_| random.normal(floats, 1.0)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..ProptestConfig::default() })]

    /// Image → convolution → convolution of every kind.
    #[test]
    fn convolutions(
        size in size(), channels in 1..3usize, first in 1..40usize, second in 1..40usize, batch in 1..4usize,
        flat in any::<bool>(), strided in prop::sample::select(vec![[1, 1, 1], [2, 2, 2], [1, 2, 2], [2, 1, 1]]), is_point in any::<bool>(),
        is_instance in any::<bool>(), threads in 1..4usize, instructions in instructions(), seed in any::<u64>(),
    ) {
        let random = &mut Random(seed);
        let kernel = if flat { [1, 3, 3] } else { [3, 3, 3] };
        let strided = if flat { [1, strided[1], strided[2]] } else { strided };
        let layers = [
            random.convolution([channels, first], kernel, [1; 3], is_instance),
            random.convolution([first, second], kernel, [1; 3], is_instance),
            random.convolution([second, first], if is_point { [1; 3] } else { kernel }, strided, false),
        ];
        let images = images(random, batch, channels * size.iter().product::<usize>());
        let right: Vec<Vec<Array>> = images.iter().map(|image| {
            let mut maps = vec![Array::new(channels, size, image)];
            for layer in &layers {
                let map = convolve(maps.last().expect("one"), layer);
                maps.push(activate(map, &layer.norm, layer.slope));
            }
            maps
        }).collect();
        let mut graph = Graph::new(channels);
        let mut values = vec![graph.image()];
        for layer in layers {
            values.push(graph.convolution(&values[values.len() - 1..], layer));
        }
        let found = forward(graph, &values[1..], &images, [channels, size[0], size[1], size[2]], threads, instructions);
        // Instance norm of a few voxels divides by almost nothing.
        let tolerance = if is_instance && size.iter().product::<usize>() < 40 { 2e-2 } else { 2e-4 };
        for (layer, found) in found.iter().enumerate() {
            for (image, found) in found.chunks_exact(found.len() / batch).enumerate() {
                let [largest, _] = errors(found, &right[image][layer + 1].values);
                prop_assert!(largest < tolerance, "layer {layer}, image {image}: {largest:e}");
            }
        }
    }

    /// Down, up, concatenation, pooling, and a residual sum.
    #[test]
    fn other_layers(
        half in [1..6usize, 1..6usize, 1..10usize], first in 1..40usize, second in 1..40usize,
        stride in prop::sample::select(vec![[2, 2, 2], [1, 2, 2]]), threads in 1..4usize, instructions in instructions(), seed in any::<u64>(),
    ) {
        let random = &mut Random(seed);
        let size: [usize; 3] = std::array::from_fn(|axis| half[axis] * stride[axis]);
        let fine = random.convolution([1, first], [3; 3], [1; 3], false);
        let coarse = random.convolution([first, second], [3; 3], stride, false);
        let shortcut = random.convolution([first, second], [1; 3], [1; 3], false);
        let up = random.transposed([second, first], stride);
        let last = random.convolution([2 * first, second], [3; 3], [1; 3], false);
        let image = random.normal(size.iter().product(), 1.0);
        let array = Array::new(1, size, &image);
        let after = |map: Array, norm: &Norm| activate(map, norm, 0.01);
        let skip = after(convolve(&array, &fine), &fine.norm);
        let pooled = pool(&skip, stride);
        let sum = add(&after(convolve(&skip, &coarse), &coarse.norm), &after(convolve(&pooled, &shortcut), &shortcut.norm), 0.01);
        let raised = transpose(&sum, &up);
        let right = after(convolve(&raised.with(&skip), &last), &last.norm);
        let mut graph = Graph::new(1);
        let skip = graph.convolution(&[graph.image()], fine);
        let coarse = graph.convolution(&[skip], coarse);
        let pooled = graph.average_pool(skip, stride);
        let shortcut = graph.convolution(&[pooled], shortcut);
        let sum = graph.add([coarse, shortcut], 0.01);
        let raised = graph.transposed(sum, up);
        let last = graph.convolution(&[raised, skip], last);
        let found = forward(graph, &[last], &[image], [1, size[0], size[1], size[2]], threads, instructions);
        let [largest, _] = errors(&found[0], &right.values);
        prop_assert!(largest < 2e-4, "{largest:e}");
    }
}

/// A network of all layers, and an image for it.
fn everything(size: [usize; 3]) -> (Graph, Vec<kernels::Value>, Vec<f32>) {
    let random = &mut Random(7);
    let mut graph = Graph::new(2);
    let skip = graph.convolution(&[graph.image()], random.convolution([2, 40], [3; 3], [1; 3], true));
    let coarse = graph.convolution(&[skip], random.convolution([40, 96], [3; 3], [2; 3], true));
    let coarse = graph.convolution(&[coarse], random.convolution([96, 96], [3; 3], [1; 3], true));
    let pooled = graph.average_pool(skip, [2; 3]);
    let shortcut = graph.convolution(&[pooled], random.convolution([40, 96], [1; 3], [1; 3], true));
    let sum = graph.add([coarse, shortcut], 0.01);
    let up = graph.transposed(sum, random.transposed([96, 40], [2; 3]));
    let last = graph.convolution(&[up, skip], random.convolution([80, 40], [3; 3], [1; 3], true));
    (graph, vec![last, sum], random.normal(2 * size.iter().product::<usize>(), 1.0))
}

/// Neither the number of threads nor the width of vectors changes a bit.
#[test]
fn all_processors_and_threads_give_the_same_bits() {
    let size = [12, 18, 22];
    let run = |threads, instructions| {
        let (graph, outputs, image) = everything(size);
        let maps = forward(graph, &outputs, &[image], [2, size[0], size[1], size[2]], threads, instructions);
        maps.into_iter().flatten().map(f32::to_bits).collect::<Vec<_>>()
    };
    let first = run(1, Instructions::Avx2);
    for instructions in [Instructions::Avx2, Instructions::Avx512].into_iter().filter(|instructions| instructions.are_there()) {
        for threads in [1, 2, 3, 8] {
            assert!(run(threads, instructions) == first, "{threads} threads, {instructions:?}");
        }
    }
}

/// A tile of a larger array, read backwards, is the tile that was cut out and turned around.
#[test]
fn images_are_read_in_place() {
    let (shape, corner, size) = ([2, 9, 14, 17], [2, 3, 4], [6, 8, 10]);
    let array = Random(3).normal(shape.iter().product(), 1.0);
    for mirrored in [[false; 3], [true, false, false], [false, true, true], [false, false, true]] {
        let mut cut = Vec::new();
        for channel in 0..2 {
            for (z, y, x) in (0..6).flat_map(|z| (0..8).flat_map(move |y| (0..10).map(move |x| (z, y, x)))) {
                let at = |axis: usize, i: usize| corner[axis] + if mirrored[axis] { size[axis] - 1 - i } else { i };
                cut.push(array[((channel * 9 + at(0, z)) * 14 + at(1, y)) * 17 + at(2, x)]);
            }
        }
        let run = |view: kernels::View| {
            let mut graph = Graph::new(2);
            let value = graph.convolution(&[graph.image()], Random(5).convolution([2, 16], [3; 3], [1; 3], false));
            let pool = kernels::Pool::new(1).expect("a thread");
            let mut network = kernels::Network::new(&pool, graph, size, 1, &[value], Instructions::Avx2).expect("supported");
            let mut output = vec![0.0; 16 * 480];
            network.forward(&pool, &[view], &mut [&mut output]).expect("memory");
            output
        };
        let in_place = run(kernels::View::new(&array, shape, corner, size, mirrored));
        assert!(in_place == run(kernels::View::new(&cut, [2, 6, 8, 10], [0; 3], size, [false; 3])), "{mirrored:?}");
    }
}

/// Where values lie far from 0, a difference of squares says nothing of their deviation.
#[test]
fn norms_of_values_far_from_zero_are_exact() {
    let size = [6, 8, 10];
    let image: Vec<f32> = Random(1).normal(480, 0.01).into_iter().map(|value| value + 30.0).collect();
    let mut convolution = Random(2).convolution([1, 16], [1; 3], [1; 3], true);
    convolution.weight = vec![1.0; 16];
    let right = activate(convolve(&Array::new(1, size, &image), &convolution), &convolution.norm, 0.01);
    let mut graph = Graph::new(1);
    let value = graph.convolution(&[graph.image()], convolution);
    let found = forward(graph, &[value], &[image], [1, 6, 8, 10], 1, Instructions::Avx2);
    let [largest, _] = errors(&found[0], &right.values);
    assert!(largest < 2e-3, "{largest:e}");
}

/// What there are no kernels for, and maps that do not fit together, are refused by name: plans may be a stranger's.
#[test]
fn what_is_not_served_is_named() {
    let refusal = |build: &dyn Fn(&mut Graph) -> kernels::Value, size| {
        let mut graph = Graph::new(1);
        let value = build(&mut graph);
        let refused = kernels::Network::new(&kernels::Pool::new(1).expect("a thread"), graph, size, 1, &[value], Instructions::Avx2);
        refused.err().expect("refused").to_string()
    };
    let kernel = |graph: &mut Graph| graph.convolution(&[graph.image()], Random(1).convolution([1, 8], [5; 3], [1; 3], false));
    assert_eq!(refusal(&kernel, [8; 3]), "a convolution with a kernel of [5, 5, 5] has no kernel");
    let stride = |graph: &mut Graph| graph.convolution(&[graph.image()], Random(1).convolution([1, 8], [3; 3], [1, 1, 3], false));
    assert_eq!(refusal(&stride, [8; 3]), "a convolution with a stride of [1, 1, 3] has no kernel");
    // A patch that the strides do not divide.
    let odd = |graph: &mut Graph| {
        let fine = graph.convolution(&[graph.image()], Random(1).convolution([1, 8], [3; 3], [1; 3], false));
        let coarse = graph.convolution(&[fine], Random(1).convolution([8, 8], [3; 3], [2; 3], false));
        let up = graph.transposed(coarse, Random(1).transposed([8, 8], [2; 3]));
        graph.convolution(&[up, fine], Random(1).convolution([16, 8], [3; 3], [1; 3], false))
    };
    assert_eq!(refusal(&odd, [7, 8, 8]), "a concatenation of maps of 8 × 8 × 8 × 8 and 8 × 7 × 8 × 8");
    let sum = |graph: &mut Graph| {
        let fine = graph.convolution(&[graph.image()], Random(1).convolution([1, 8], [3; 3], [1; 3], false));
        let coarse = graph.convolution(&[fine], Random(1).convolution([8, 8], [3; 3], [2; 3], false));
        graph.add([fine, coarse], 0.01)
    };
    assert_eq!(refusal(&sum, [8; 3]), "a sum of maps of 8 × 8 × 8 × 8 and 8 × 4 × 4 × 4");
}
