//! What a network computes, before its sizes are known: layers and what they read.

/// What a layer makes, or the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(pub(crate) usize);

/// A network's layers, in the order in which they are computed.
#[derive(Debug)]
pub struct Graph {
    /// The first one is the image.
    pub(crate) layers: Vec<Layer>,
}

/// A layer. Axes are (z, y, x); networks in 2D have one slice, kernels and strides of 1 along z.
#[derive(Debug)]
pub(crate) enum Layer {
    Image { channels: usize },
    Convolution { inputs: Vec<Value>, convolution: Convolution },
    Transposed { input: Value, transposed: TransposedConvolution },
    Pool { input: Value, kernel: [usize; 3] },
    Add { inputs: [Value; 2], slope: f32 },
}

/// A convolution, padded with half of its kernel, and what comes after it.
#[derive(Debug)]
pub struct Convolution {
    /// `(output, input, z, y, x)`.
    pub weight: Vec<f32>,
    /// Output channels.
    pub outputs: usize,
    /// Odd sizes.
    pub kernel: [usize; 3],
    /// 1 or 2 along x.
    pub stride: [usize; 3],
    /// Normalisation, or the bias.
    pub norm: Norm,
    /// Of the leaky ReLU after that, from 0 to 1; 1 for none.
    pub slope: f32,
}

/// A transposed convolution whose kernel is its stride.
#[derive(Debug)]
pub struct TransposedConvolution {
    /// `(input, output, z, y, x)`.
    pub weight: Vec<f32>,
    /// One an output channel; empty for none.
    pub bias: Vec<f32>,
    /// Output channels.
    pub outputs: usize,
    /// Kernel and stride.
    pub stride: [usize; 3],
}

/// What follows a convolution, channel by channel.
#[derive(Clone, Debug)]
pub enum Norm {
    /// scale·x + shift: batch norm with running statistics, or a bias alone.
    Fixed {
        /// One an output channel.
        scale: Vec<f32>,
        /// One an output channel.
        shift: Vec<f32>,
    },
    /// scale·(x − mean)/√(variance + eps) + shift, mean and variance over the voxels of an image. A bias before that changes nothing.
    Instance {
        /// One an output channel.
        scale: Vec<f32>,
        /// One an output channel.
        shift: Vec<f32>,
        /// Added to the variance.
        eps: f64,
    },
}

impl Graph {
    /// A network of images of so many channels.
    pub fn new(channels: usize) -> Self {
        Self { layers: vec![Layer::Image { channels }] }
    }

    /// The image.
    pub fn image(&self) -> Value {
        Value(0)
    }

    /// A convolution of the concatenated channels of `inputs`.
    pub fn convolution(&mut self, inputs: &[Value], convolution: Convolution) -> Value {
        self.push(Layer::Convolution { inputs: inputs.to_vec(), convolution })
    }

    /// A transposed convolution.
    pub fn transposed(&mut self, input: Value, transposed: TransposedConvolution) -> Value {
        self.push(Layer::Transposed { input, transposed })
    }

    /// Means over boxes of `kernel` without overlap.
    pub fn average_pool(&mut self, input: Value, kernel: [usize; 3]) -> Value {
        self.push(Layer::Pool { input, kernel })
    }

    /// The sum of two values, and a leaky ReLU of this slope.
    pub fn add(&mut self, inputs: [Value; 2], slope: f32) -> Value {
        self.push(Layer::Add { inputs, slope })
    }

    fn push(&mut self, layer: Layer) -> Value {
        self.layers.push(layer);
        Value(self.layers.len() - 1)
    }
}

impl Layer {
    /// What it reads.
    pub(crate) fn inputs(&self) -> &[Value] {
        match self {
            Self::Image { .. } => &[],
            Self::Convolution { inputs, .. } => inputs,
            Self::Transposed { input, .. } | Self::Pool { input, .. } => std::slice::from_ref(input),
            Self::Add { inputs, .. } => inputs,
        }
    }
}
