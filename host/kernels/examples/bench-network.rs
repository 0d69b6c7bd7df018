//! Milliseconds of a whole forward pass: `bench-network [PATCH [FEATURES [THREADS [ROUNDS [avx2]]]]]`, e.g. `bench-network 40,56,40 32,64,128,256 2 20`. The
//! network is nnU-Net's PlainConvUNet with two convolutions a stage, random weights, stride 2 along all axes.

use kernels::{Convolution, Graph, Instructions, Network, Norm, Pool, TransposedConvolution, View};
use std::time::Instant;

fn numbers(text: Option<String>, default: &str) -> Vec<usize> {
    text.unwrap_or(default.to_owned()).split(',').map(|number| number.parse().expect("a number")).collect()
}

/// Numbers around 0 that do not repeat themselves.
fn waves(count: usize, deviation: f64) -> Vec<f32> {
    (0..count).map(|i| ((i as f64 * 1.7).sin() * deviation * std::f64::consts::SQRT_2) as f32).collect()
}

fn convolution([inputs, outputs]: [usize; 2], stride: usize) -> Convolution {
    let fan_in = inputs * 27;
    let norm = Norm::Instance { scale: vec![1.0; outputs], shift: vec![0.0; outputs], eps: 1e-5 };
    let weight = waves(outputs * fan_in, (2.0 / fan_in as f64).sqrt());
    Convolution { weight, outputs, kernel: [3; 3], stride: [stride; 3], norm, slope: 0.01 }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let patch: [usize; 3] = numbers(arguments.next(), "40,56,40").try_into().expect("three sizes");
    let features = numbers(arguments.next(), "32,64,128,256");
    let threads = numbers(arguments.next(), "2")[0];
    let rounds = numbers(arguments.next(), "20")[0];
    let instructions = if arguments.next().is_some() { Instructions::Avx2 } else { Instructions::best().expect("AVX2") };
    let mut graph = Graph::new(1);
    let mut value = graph.image();
    let mut skips = Vec::new();
    for (stage, outputs) in features.iter().enumerate() {
        let inputs = if stage == 0 { 1 } else { features[stage - 1] };
        value = graph.convolution(&[value], convolution([inputs, *outputs], if stage == 0 { 1 } else { 2 }));
        value = graph.convolution(&[value], convolution([*outputs; 2], 1));
        skips.push(value);
    }
    skips.pop();
    for (stage, skip) in skips.into_iter().enumerate().rev() {
        let [outputs, inputs] = [features[stage], features[stage + 1]];
        let weight = waves(inputs * outputs * 8, 1.0 / (inputs as f64).sqrt());
        let up = graph.transposed(value, TransposedConvolution { weight, bias: vec![0.0; outputs], outputs, stride: [2; 3] });
        value = graph.convolution(&[up, skip], convolution([2 * outputs, outputs], 1));
        value = graph.convolution(&[value], convolution([outputs; 2], 1));
    }
    let pool = Pool::new(threads).expect("threads");
    let started = Instant::now();
    let mut network = Network::new(&pool, graph, patch, 1, &[value], instructions).expect("supported");
    println!("packed in {:.0} ms, {} MB of weights", started.elapsed().as_secs_f64() * 1e3, network.bytes() / 1_000_000);
    let image = waves(patch.iter().product(), 1.0);
    let view = View::new(&image, [1, patch[0], patch[1], patch[2]], [0; 3], patch, [false; 3]);
    let mut output = vec![0.0; network.output_shape(0).iter().product()];
    let mut times = Vec::new();
    let mut layers: Vec<f64> = Vec::new();
    for _ in 0..=rounds {
        let started = Instant::now();
        network.forward(&pool, &[view], &mut [&mut output]).expect("memory");
        times.push(started.elapsed().as_secs_f64() * 1e3);
        let found = network.times().iter().map(|time| time.as_secs_f64() * 1e3);
        layers = if layers.is_empty() { found.collect() } else { found.zip(&layers).map(|(a, b)| a.min(*b)).collect() };
    }
    for (name, time) in network.layers().zip(&layers) {
        println!("{time:8.2} ms  {name}");
    }
    times.remove(0);
    times.sort_by(f64::total_cmp);
    println!(
        "{patch:?}, {features:?}, {threads} threads, {instructions:?}: minimum {:.1} ms, median {:.1} ms",
        times[0],
        times[times.len() / 2]
    );
}
