//! What layers compute, as plain loops in double precision, and numbers to compute with.

#![allow(dead_code, reason = "every test takes what it needs")]

use kernels::{Convolution, Graph, Instructions, Network, Norm, Pool, TransposedConvolution, View};

/// An array `(channel, z, y, x)`.
#[derive(Clone, Debug)]
pub struct Array {
    pub channels: usize,
    pub size: [usize; 3],
    pub values: Vec<f64>,
}

impl Array {
    pub fn new(channels: usize, size: [usize; 3], values: &[f32]) -> Self {
        Self { channels, size, values: values.iter().map(|value| f64::from(*value)).collect() }
    }

    fn voxels(&self) -> usize {
        self.size.iter().product()
    }

    fn get(&self, channel: usize, at: [isize; 3]) -> f64 {
        let inside = (0..3).all(|axis| (0..self.size[axis] as isize).contains(&at[axis]));
        let [z, y, x] = at.map(|at| at as usize);
        if inside { self.values[((channel * self.size[0] + z) * self.size[1] + y) * self.size[2] + x] } else { 0.0 }
    }

    /// Channels of both, one after the other.
    pub fn with(&self, other: &Self) -> Self {
        Self { channels: self.channels + other.channels, size: self.size, values: [&*self.values, &*other.values].concat() }
    }
}

/// The boxes' voxels (z, y, x), in order.
fn voxels(size: [usize; 3]) -> impl Iterator<Item = [usize; 3]> {
    (0..size[0]).flat_map(move |z| (0..size[1]).flat_map(move |y| (0..size[2]).map(move |x| [z, y, x])))
}

/// The convolution alone.
pub fn convolve(input: &Array, convolution: &Convolution) -> Array {
    let Convolution { weight, outputs, kernel, stride, .. } = convolution;
    let size: [usize; 3] = std::array::from_fn(|axis| (input.size[axis] - 1) / stride[axis] + 1);
    let taps: Vec<[usize; 3]> = voxels(*kernel).collect();
    let mut values = Vec::with_capacity(outputs * size.iter().product::<usize>());
    for output in 0..*outputs {
        for at in voxels(size) {
            let mut sum = 0.0;
            for channel in 0..input.channels {
                let weights = &weight[(output * input.channels + channel) * taps.len()..][..taps.len()];
                for (tap, weight) in taps.iter().zip(weights) {
                    let from = std::array::from_fn(|axis| (at[axis] * stride[axis] + tap[axis]) as isize - (kernel[axis] / 2) as isize);
                    sum += f64::from(*weight) * input.get(channel, from);
                }
            }
            values.push(sum);
        }
    }
    Array { channels: *outputs, size, values }
}

/// Norm and leaky ReLU.
pub fn activate(mut map: Array, norm: &Norm, slope: f32) -> Array {
    let voxels = map.voxels();
    for (channel, values) in map.values.chunks_exact_mut(voxels).enumerate() {
        let (factor, shift) = match norm {
            Norm::Fixed { scale, shift } => (f64::from(scale[channel]), f64::from(shift[channel])),
            Norm::Instance { scale, shift, eps } => {
                let mean = values.iter().sum::<f64>() / voxels as f64;
                let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / voxels as f64;
                let factor = f64::from(scale[channel]) / (variance + eps).sqrt();
                (factor, f64::from(shift[channel]) - mean * factor)
            }
        };
        for value in values {
            let y = *value * factor + shift;
            *value = y.max(f64::from(slope) * y);
        }
    }
    map
}

pub fn transpose(input: &Array, transposed: &TransposedConvolution) -> Array {
    let TransposedConvolution { weight, bias, outputs, stride } = transposed;
    let size: [usize; 3] = std::array::from_fn(|axis| input.size[axis] * stride[axis]);
    let taps: usize = stride.iter().product();
    let mut values = Vec::new();
    for output in 0..*outputs {
        for at in voxels(size) {
            let from = std::array::from_fn(|axis| (at[axis] / stride[axis]) as isize);
            let [z, y, x]: [usize; 3] = std::array::from_fn(|axis| at[axis] % stride[axis]);
            let tap = (z * stride[1] + y) * stride[2] + x;
            let products =
                (0..input.channels).map(|channel| f64::from(weight[(channel * outputs + output) * taps + tap]) * input.get(channel, from));
            values.push(products.sum::<f64>() + bias.get(output).map_or(0.0, |bias| f64::from(*bias)));
        }
    }
    Array { channels: *outputs, size, values }
}

pub fn pool(input: &Array, kernel: [usize; 3]) -> Array {
    let size: [usize; 3] = std::array::from_fn(|axis| input.size[axis] / kernel[axis]);
    let mut values = Vec::new();
    for channel in 0..input.channels {
        for at in voxels(size) {
            let from = |tap: [usize; 3]| std::array::from_fn(|axis| (at[axis] * kernel[axis] + tap[axis]) as isize);
            values.push(voxels(kernel).map(|tap| input.get(channel, from(tap))).sum::<f64>() / kernel.iter().product::<usize>() as f64);
        }
    }
    Array { channels: input.channels, size, values }
}

pub fn add(a: &Array, b: &Array, slope: f32) -> Array {
    let sum = |(a, b): (&f64, &f64)| (a + b).max(f64::from(slope) * (a + b));
    Array { values: a.values.iter().zip(&b.values).map(sum).collect(), ..a.clone() }
}

/// Normally distributed numbers, the same for the same seed (splitmix64, Box and Muller).
pub struct Random(pub u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn normal(&mut self, count: usize, deviation: f64) -> Vec<f32> {
        let one = |_| ((-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos() * deviation) as f32;
        (0..count).map(one).collect()
    }

    /// A convolution of `inputs` channels, its weights as they are before training.
    pub fn convolution(&mut self, [inputs, outputs]: [usize; 2], kernel: [usize; 3], stride: [usize; 3], is_instance: bool) -> Convolution {
        let fan_in = inputs * kernel.iter().product::<usize>();
        let weight = self.normal(outputs * fan_in, (2.0 / fan_in as f64).sqrt());
        let scale = self.normal(outputs, 0.2).into_iter().map(|value| 1.0 + value).collect();
        let shift = self.normal(outputs, 0.2);
        let norm = if is_instance { Norm::Instance { scale, shift, eps: 1e-5 } } else { Norm::Fixed { scale, shift } };
        Convolution { weight, outputs, kernel, stride, norm, slope: 0.01 }
    }

    pub fn transposed(&mut self, [inputs, outputs]: [usize; 2], stride: [usize; 3]) -> TransposedConvolution {
        let weight = self.normal(inputs * outputs * stride.iter().product::<usize>(), (1.0 / inputs as f64).sqrt());
        TransposedConvolution { weight, bias: self.normal(outputs, 0.5), outputs, stride }
    }
}

/// What `graph` makes of images `(image, channel, z, y, x)` on `threads` threads, an array an output.
pub fn forward(
    graph: Graph,
    outputs: &[kernels::Value],
    images: &[Vec<f32>],
    shape: [usize; 4],
    threads: usize,
    instructions: Instructions,
) -> Vec<Vec<f32>> {
    let size = [shape[1], shape[2], shape[3]];
    let pool = Pool::new(threads).expect("threads");
    let mut network = Network::new(&pool, graph, size, images.len(), outputs, instructions).expect("supported");
    let views: Vec<View> = images.iter().map(|image| View::new(image, shape, [0; 3], size, [false; 3])).collect();
    let floats = |index: usize| images.len() * network.output_shape(index).iter().product::<usize>();
    let mut arrays: Vec<Vec<f32>> = (0..outputs.len()).map(|index| vec![f32::NAN; floats(index)]).collect();
    // Twice: buffers are used again.
    for _ in 0..2 {
        let mut slices: Vec<&mut [f32]> = arrays.iter_mut().map(Vec::as_mut_slice).collect();
        network.forward(&pool, &views, &mut slices).expect("memory");
    }
    arrays
}

/// Largest and root mean square difference over the deviation of what is right.
pub fn errors(found: &[f32], right: &[f64]) -> [f64; 2] {
    assert_eq!(found.len(), right.len());
    let count = right.len() as f64;
    let mean = right.iter().sum::<f64>() / count;
    let deviation = (right.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-30);
    let differences = || found.iter().zip(right).map(|(found, right)| (f64::from(*found) - right).abs());
    // A NaN must not get lost.
    let largest = differences().fold(0.0, |largest, difference| if difference <= largest { largest } else { difference });
    [largest / deviation, (differences().map(|difference| difference * difference).sum::<f64>() / count).sqrt() / deviation]
}
