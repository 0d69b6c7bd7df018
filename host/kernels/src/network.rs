//! A network for images of one size: every layer with its algorithm and its packed weights, and the memory that maps go through.

use crate::choice::{Choice, choose};
use crate::direct::{Direct, Geometry, Input, Transposed};
use crate::error::Error;
use crate::graph::{Convolution, Graph, Layer, Norm, TransposedConvolution, Value};
use crate::instructions::Instructions;
use crate::map::{BLOCK, Block, Map, Pending, Shape};
use crate::memory::Buffer;
use crate::norm::statistics;
use crate::pointwise::{add_maps, average_pool, unblock};
use crate::pool::Pool;
use crate::view::View;
use crate::winograd::Winograd;
use std::fmt;
use std::time::{Duration, Instant};

/// A [`Graph`] made ready.
pub struct Network {
    instructions: Instructions,
    steps: Vec<Step>,
    shapes: Vec<Shape>,
    outputs: Vec<Value>,
    /// The last layer that reads a value.
    last_reader: Vec<usize>,
    /// Images of a batch at most.
    images: usize,
    workspace: Buffer,
    /// Floats of working memory of a thread.
    scratch: usize,
    free: Vec<Buffer>,
    /// Of every layer, in the last forward pass.
    times: Vec<Duration>,
}

/// A layer that is ready.
struct Step {
    inputs: Vec<Value>,
    work: Work,
}

enum Work {
    Image,
    Winograd(Winograd, After),
    Direct(Direct, After),
    Transposed(Transposed, After),
    Pool([usize; 3]),
    Add(f32),
}

/// What is left to whoever reads the map.
struct After {
    norm: Norm,
    slope: f32,
}

impl Network {
    /// Makes `graph` ready for batches of up to `images` images of `size` (z, y, x). [`forward`](Self::forward) will give the values of `outputs`.
    ///
    /// # Errors
    /// When the processor lacks instructions, or a layer is of no kind that there are kernels for.
    pub fn new(
        pool: &Pool,
        graph: Graph,
        size: [usize; 3],
        images: usize,
        outputs: &[Value],
        instructions: Instructions,
    ) -> Result<Self, Error> {
        if !instructions.are_there() {
            return Err(Error::Processor(instructions));
        }
        let mut network = Self {
            instructions,
            steps: Vec::new(),
            shapes: Vec::new(),
            outputs: outputs.to_vec(),
            last_reader: vec![0; graph.layers.len()],
            images,
            workspace: Buffer::default(),
            scratch: 0,
            free: Vec::new(),
            times: Vec::new(),
        };
        let mut workspace = 0;
        for (index, layer) in graph.layers.into_iter().enumerate() {
            let inputs = layer.inputs().to_vec();
            for input in &inputs {
                network.last_reader[input.0] = index;
            }
            let (shape, work) = network.prepare(pool, layer, size, images)?;
            network.scratch = network.scratch.max(work.scratch());
            if let Work::Winograd(winograd, _) = &work {
                workspace = workspace.max(winograd.workspace(images));
            }
            network.shapes.push(shape);
            network.steps.push(Step { inputs, work });
        }
        network.workspace = Buffer::new(workspace)?;
        Ok(network)
    }

    /// Shape of what a layer makes, and the layer made ready.
    fn prepare(&self, pool: &Pool, layer: Layer, size: [usize; 3], images: usize) -> Result<(Shape, Work), Error> {
        Ok(match layer {
            Layer::Image { channels } => (Shape { channels, size }, Work::Image),
            Layer::Convolution { inputs, convolution } => self.convolution(pool, &inputs, convolution, images)?,
            Layer::Transposed { input, transposed } => self.transposed(input, transposed)?,
            Layer::Pool { input, kernel } => {
                let from = self.shapes[input.0];
                (Shape { size: std::array::from_fn(|axis| from.size[axis] / kernel[axis]), ..from }, Work::Pool(kernel))
            }
            Layer::Add { inputs: [a, b], slope } => {
                if self.shapes[a.0] != self.shapes[b.0] {
                    return Err(Error::Layer(format!("a sum of maps of {} and {}", self.shapes[a.0], self.shapes[b.0])));
                }
                (self.shapes[a.0], Work::Add(slope))
            }
        })
    }

    fn convolution(&self, pool: &Pool, inputs: &[Value], convolution: Convolution, images: usize) -> Result<(Shape, Work), Error> {
        let Convolution { weight, outputs, kernel, stride, norm, slope } = convolution;
        let is_image = inputs == [Value(0)];
        let unserved = |what: String| Err(Error::Layer(format!("a convolution with a {what} has no kernel")));
        if kernel.iter().any(|size| size % 2 == 0 || *size > 3) {
            return unserved(format!("kernel of {kernel:?}"));
        }
        if !(1..=2).contains(&stride[2]) || stride.contains(&0) {
            return unserved(format!("stride of {stride:?}"));
        }
        if !is_image && inputs.contains(&Value(0)) {
            return unserved("concatenated image".to_owned());
        }
        let from = self.shapes[inputs[0].0].size;
        if let Some(other) = inputs.iter().map(|input| self.shapes[input.0]).find(|shape| shape.size != from) {
            return Err(Error::Layer(format!("a concatenation of maps of {} and {other}", self.shapes[inputs[0].0])));
        }
        // Channels of all inputs as they lie in their blocks.
        let mut channels: Vec<Option<usize>> = Vec::new();
        let mut count = 0;
        for input in inputs {
            let shape = self.shapes[input.0];
            channels.extend((count..count + shape.channels).map(Some));
            count += shape.channels;
            if !is_image {
                channels.resize(channels.len().next_multiple_of(crate::map::PANEL), None);
            }
        }
        assert_eq!(weight.len(), outputs * count * kernel.iter().product::<usize>(), "weights of {outputs} × {count} × {kernel:?}");
        let size = std::array::from_fn(|axis| (from[axis] - 1) / stride[axis] + 1);
        let shape = Shape { channels: outputs, size };
        let kernel_of = |output: usize, input: usize| {
            let taps: usize = kernel.iter().product();
            let input = channels[input].filter(|_| output < outputs)?;
            Some(&weight[(output * count + input) * taps..][..taps])
        };
        let after = After { norm, slope };
        let blocks = [channels.len() / BLOCK, shape.blocks()];
        let choice = if stride == [1; 3] && !is_image { choose(kernel, size, blocks, images) } else { None };
        let work = match choice {
            Some(Choice { outputs, together, in_stages }) => {
                // A kernel of 1 along z lies in the first plane of one of 3.
                let cube = |taps: &[f32]| {
                    let mut cube = [0.0; 27];
                    cube.iter_mut().zip(taps).for_each(|(to, from)| *to = f64::from(*from));
                    cube
                };
                let weights = |output, input| kernel_of(output, input).map(cube);
                Work::Winograd(Winograd::new(pool, size, outputs, blocks, (together, in_stages), weights)?, after)
            }
            None => {
                let geometry = Geometry { input: from, output: size, kernel, stride };
                let inputs = if is_image { count } else { blocks[0] };
                let weights = |output, input, [z, y, x]: [usize; 3]| Some(kernel_of(output, input)?[(z * kernel[1] + y) * kernel[2] + x]);
                Work::Direct(Direct::new(geometry, is_image, [inputs, blocks[1]], weights)?, after)
            }
        };
        Ok((shape, work))
    }

    fn transposed(&self, input: Value, transposed: TransposedConvolution) -> Result<(Shape, Work), Error> {
        let TransposedConvolution { weight, bias, outputs, stride } = transposed;
        let from = self.shapes[input.0];
        let taps: usize = stride.iter().product();
        assert_eq!(weight.len(), from.channels * outputs * taps, "weights of {} × {outputs} × {stride:?}", from.channels);
        let shape = Shape { channels: outputs, size: std::array::from_fn(|axis| from.size[axis] * stride[axis]) };
        let weights = |output: usize, input: usize, tap: usize| {
            (input < from.channels && output < outputs).then(|| weight[(input * outputs + output) * taps + tap])
        };
        let work = Transposed::new(from.size, stride, [from.blocks(), shape.blocks()], weights)?;
        let shift = if bias.is_empty() { vec![0.0; outputs] } else { bias };
        Ok((shape, Work::Transposed(work, After { norm: Norm::Fixed { scale: vec![1.0; outputs], shift }, slope: 1.0 })))
    }

    /// Channels and (z, y, x) of output number `index`.
    pub fn output_shape(&self, index: usize) -> [usize; 4] {
        let Shape { channels, size: [z, y, x] } = self.shapes[self.outputs[index].0];
        [channels, z, y, x]
    }

    /// What computes every layer, the image first.
    pub fn layers(&self) -> impl Iterator<Item = String> {
        self.steps.iter().zip(&self.shapes).map(|(step, shape)| format!("{} to {shape}", step.work))
    }

    /// Bytes of its packed weights.
    pub fn bytes(&self) -> usize {
        let of = |step: &Step| match &step.work {
            Work::Winograd(winograd, _) => winograd.bytes(),
            Work::Direct(direct, _) => direct.bytes(),
            Work::Transposed(transposed, _) => transposed.bytes(),
            Work::Image | Work::Pool(_) | Work::Add(_) => 0,
        };
        self.steps.iter().map(of).sum()
    }

    /// Gives the memory of maps back, which [`forward`](Self::forward) otherwise keeps for the next images.
    pub fn release(&mut self) {
        self.free.clear();
    }

    /// What every layer took in the last forward pass.
    pub fn times(&self) -> &[Duration] {
        &self.times
    }

    /// Computes a batch of images. Output number i is written to `outputs[i]`, an array `(image, channel, z, y, x)`. The same images give the same bytes,
    /// whatever the number of threads.
    ///
    /// # Errors
    /// When the system has no memory for the maps.
    ///
    /// # Panics
    /// When there are more images than a batch has, or an image or output has another size.
    pub fn forward(&mut self, pool: &Pool, images: &[View], outputs: &mut [&mut [f32]]) -> Result<(), Error> {
        assert!(!images.is_empty() && images.len() <= self.images, "{} images in batches of {}", images.len(), self.images);
        for image in images {
            let Shape { channels, size: [z, y, x] } = self.shapes[0];
            assert_eq!(image.shape(), [channels, z, y, x], "an image's shape");
        }
        assert_eq!(outputs.len(), self.outputs.len(), "as many arrays as there are outputs");
        pool.reserve(self.scratch)?;
        pool.install(|| {
            let mut maps: Vec<Option<Map>> = Vec::with_capacity(self.steps.len());
            self.times.clear();
            for index in 0..self.steps.len() {
                let started = Instant::now();
                let map = self.step(pool, index, images, &maps)?;
                self.times.push(started.elapsed());
                if let Some(map) = &map {
                    for (output, _) in outputs.iter_mut().zip(&self.outputs).filter(|(_, value)| value.0 == index) {
                        unblock(pool, map, images.len(), output);
                    }
                }
                maps.push(map);
                for read in self.steps[index].inputs.clone() {
                    if self.last_reader[read.0] == index {
                        self.free.extend(maps[read.0].take().map(|map| map.data));
                    }
                }
            }
            self.free.extend(maps.into_iter().flatten().map(|map| map.data));
            Ok(())
        })
    }

    /// Computes step `index`; the image is no map.
    fn step(&mut self, pool: &Pool, index: usize, images: &[View], maps: &[Option<Map>]) -> Result<Option<Map>, Error> {
        let shape = self.shapes[index];
        if index == 0 {
            return Ok(None);
        }
        let mut data = self.take(images.len() * shape.floats())?;
        let Step { inputs, work } = &self.steps[index];
        let read = |value: &Value| maps[value.0].as_ref().expect("a map that is still read");
        let blocks = |image: usize| -> Vec<Block> { inputs.iter().flat_map(|input| read(input).blocks(image)).collect() };
        let batch = |count: usize| -> Vec<Vec<Block>> { (0..count).map(blocks).collect() };
        let count = images.len();
        let pending = match work {
            Work::Image => unreachable!("the image is the first layer, and no other"),
            Work::Winograd(winograd, after) => {
                let sums = winograd.run(pool, self.instructions, &batch(count), &mut data, &mut self.workspace);
                after.pending(count, shape, || statistics(pool, &sums, shape, &data))
            }
            Work::Direct(direct, after) => {
                let input = |image: usize| if *inputs == [Value(0)] { Input::Image(images[image]) } else { Input::Blocks(blocks(image)) };
                let sums = direct.run(pool, self.instructions, &(0..count).map(input).collect::<Vec<_>>(), &mut data);
                after.pending(count, shape, || statistics(pool, &sums, shape, &data))
            }
            Work::Transposed(transposed, after) => {
                transposed.run(pool, self.instructions, &batch(count), &mut data);
                after.pending(count, shape, Vec::new)
            }
            Work::Pool(kernel) => {
                average_pool(pool, read(&inputs[0]), *kernel, count, shape, &mut data);
                Pending::nothing(count, shape)
            }
            Work::Add(slope) => {
                add_maps(pool, [read(&inputs[0]), read(&inputs[1])], *slope, count, &mut data);
                Pending::nothing(count, shape)
            }
        };
        Ok(Some(Map { shape, data, pending }))
    }

    /// A buffer of at least so many floats: a free one that is not more than twice as large, or a new one.
    fn take(&mut self, floats: usize) -> Result<Buffer, Error> {
        let fits = |buffer: &&(usize, usize)| (floats..=2 * floats.max(16)).contains(&buffer.1);
        let sizes: Vec<(usize, usize)> = self.free.iter().map(|buffer| buffer.len()).enumerate().collect();
        match sizes.iter().filter(fits).min_by_key(|(_, length)| *length) {
            Some((index, _)) => Ok(self.free.swap_remove(*index)),
            None => Buffer::new(floats),
        }
    }
}

impl Work {
    /// Floats of working memory of a thread.
    fn scratch(&self) -> usize {
        match self {
            Self::Winograd(winograd, _) => winograd.scratch(),
            Self::Direct(direct, _) => direct.scratch(),
            Self::Transposed(transposed, _) => transposed.scratch(),
            Self::Image | Self::Pool(_) | Self::Add(_) => 0,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Image => f.write_str("image"),
            Self::Winograd(winograd, _) => write!(f, "{winograd}"),
            Self::Direct(direct, _) => write!(f, "{direct}"),
            Self::Transposed(..) => f.write_str("transposed"),
            Self::Pool(_) => f.write_str("average pooling"),
            Self::Add(_) => f.write_str("sum"),
        }
    }
}

impl After {
    /// By image and block of channels; padding stays zero.
    fn pending(&self, images: usize, shape: Shape, statistics: impl FnOnce() -> Vec<[f64; 2]>) -> Pending {
        let mut pending = Pending { slope: self.slope, ..Pending::nothing(images, shape) };
        match &self.norm {
            Norm::Fixed { scale, shift } => {
                for image in 0..images {
                    for channel in 0..shape.channels {
                        pending.set(shape, image, channel, [scale[channel], shift[channel]]);
                    }
                }
            }
            Norm::Instance { scale, shift, eps } => {
                for (image, statistics) in statistics().chunks_exact(shape.blocks() * BLOCK).enumerate() {
                    for (channel, [mean, variance]) in statistics.iter().enumerate().take(shape.channels) {
                        let factor = f64::from(scale[channel]) / (variance + eps).sqrt();
                        pending.set(shape, image, channel, [factor as f32, (f64::from(shift[channel]) - mean * factor) as f32]);
                    }
                }
            }
        }
        pending
    }
}
