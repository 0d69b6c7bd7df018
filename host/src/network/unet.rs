//! nnU-Net's PlainConvUNet without its segmentation layers
//! (`dynamic_network_architectures/architectures/unet.py`, `building_blocks/{plain_conv_encoder,unet_decoder,simple_conv_blocks}.py`).
//!
//! Encoder: stages of conv → instance norm → leaky ReLU, the first convolution of a stage strided. Decoder, coarsest first:
//! transposed convolution, concatenation with the skip, the same blocks. Its maps are the features that heads work on.

use super::{Error, Parameters};
use crate::plan::Architecture;
use plugin_api::{Features, Init};
use tch::Tensor;

/// A trunk. Input `(B, C, [Z,] Y, X)`, every spatial size divisible by the product of the strides.
#[derive(Debug)]
pub struct PlainConvUNet {
    /// Finest first.
    encoder: Vec<Vec<Block>>,
    /// Coarsest first, as nnU-Net counts them.
    decoder: Vec<Up>,
}

/// conv → instance norm → leaky ReLU.
#[derive(Debug)]
struct Block {
    weight: Tensor,
    bias: Option<Tensor>,
    norm_weight: Option<Tensor>,
    norm_bias: Option<Tensor>,
    eps: f64,
    stride: Vec<i64>,
    padding: Vec<i64>,
}

#[derive(Debug)]
struct Up {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: Vec<i64>,
    blocks: Vec<Block>,
}

/// What the blocks of one network share.
struct Builder<'a> {
    parameters: &'a mut Parameters,
    conv_bias: bool,
    affine: bool,
    eps: f64,
}

impl Builder<'_> {
    fn bias(&mut self, name: &str, channels: i64) -> Result<Option<Tensor>, Error> {
        self.conv_bias.then(|| self.parameters.create(format!("{name}.bias"), &[channels], Init::Constant(0.0))).transpose()
    }

    fn block(&mut self, name: &str, channels: [i64; 2], kernel: &[i64], stride: &[i64]) -> Result<Block, Error> {
        let [input, output] = channels;
        let shape: Vec<i64> = [output, input].iter().chain(kernel).copied().collect();
        let weight = self.parameters.create(format!("{name}.conv.weight"), &shape, Init::KaimingNormal)?;
        let bias = self.bias(&format!("{name}.conv"), output)?;
        let mut norm = |part: &str, value| {
            let create = || self.parameters.create(format!("{name}.norm.{part}"), &[output], Init::Constant(value));
            self.affine.then(create).transpose()
        };
        let (norm_weight, norm_bias) = (norm("weight", 1.0)?, norm("bias", 0.0)?);
        let padding = kernel.iter().map(|k| (k - 1) / 2).collect();
        Ok(Block { weight, bias, norm_weight, norm_bias, eps: self.eps, stride: stride.to_vec(), padding })
    }

    /// `count` blocks; the first one changes channels and has the stride.
    fn stage(&mut self, name: &str, count: usize, channels: [i64; 2], kernel: &[i64], stride: &[i64]) -> Result<Vec<Block>, Error> {
        let [input, output] = channels;
        let ones = vec![1; kernel.len()];
        (0..count)
            .map(|i| {
                let (input, stride) = if i == 0 { (input, stride) } else { (output, ones.as_slice()) };
                self.block(&format!("{name}.convs.{i}"), [input, output], kernel, stride)
            })
            .collect()
    }

    fn up(&mut self, index: usize, count: usize, channels: [i64; 2], kernel: &[i64], stride: &[i64]) -> Result<Up, Error> {
        let [below, skip] = channels;
        let name = format!("decoder.transpconvs.{index}");
        let shape: Vec<i64> = [below, skip].iter().chain(stride).copied().collect();
        let weight = self.parameters.create(format!("{name}.weight"), &shape, Init::KaimingNormal)?;
        let bias = self.bias(&name, skip)?;
        let ones = vec![1; kernel.len()];
        let blocks = self.stage(&format!("decoder.stages.{index}"), count, [2 * skip, skip], kernel, &ones)?;
        Ok(Up { weight, bias, stride: stride.to_vec(), blocks })
    }
}

impl PlainConvUNet {
    /// Whether this is the network of `architecture`, in all that it asks for.
    ///
    /// # Errors
    /// Names what is not there.
    pub fn check(architecture: &Architecture) -> Result<(), Error> {
        let unsupported = |what: &str| Err(Error::Architecture(format!("{what} is not there yet")));
        let name = architecture.network_class_name.rsplit('.').next().unwrap_or_default();
        if name != "PlainConvUNet" {
            return unsupported(&format!("network class '{name}' (expected PlainConvUNet)"));
        }
        let kwargs = &architecture.arch_kwargs;
        if let Some(dropout) = &kwargs.dropout_op {
            return unsupported(&format!("dropout ('{dropout}')"));
        }
        if let Some(norm) = kwargs.norm_op.as_deref().filter(|norm| !norm.contains("InstanceNorm")) {
            return unsupported(&format!("normalisation '{norm}' (expected InstanceNorm)"));
        }
        if kwargs.norm_op.is_none() {
            return unsupported("a network without normalisation");
        }
        let slope = kwargs.nonlin_kwargs.as_ref().and_then(|kwargs| kwargs.get("negative_slope")).and_then(serde_json::Value::as_f64);
        let nonlin = kwargs.nonlin.as_deref().unwrap_or("none");
        if !nonlin.ends_with("LeakyReLU") || slope.is_some_and(|slope| slope != 0.01) {
            return unsupported(&format!("nonlinearity '{nonlin}' with slope {slope:?} (expected LeakyReLU, 0.01)"));
        }
        Ok(())
    }

    /// Builds the trunk of `architecture` for `input_channels`; its parameters are added to `parameters`.
    pub fn new(architecture: &Architecture, input_channels: usize, parameters: &mut Parameters) -> Result<Self, Error> {
        Self::check(architecture)?;
        let kwargs = &architecture.arch_kwargs;
        let norm = |key: &str| kwargs.norm_op_kwargs.as_ref().and_then(|norm| norm.get(key));
        let signed = |sizes: &[usize]| sizes.iter().map(|s| *s as i64).collect::<Vec<_>>();
        let features = signed(&kwargs.features_per_stage);
        let kernels: Vec<Vec<i64>> = kwargs.kernel_sizes.iter().map(|k| signed(k)).collect();
        let strides: Vec<Vec<i64>> = kwargs.strides.iter().map(|s| signed(s)).collect();
        let stages = kwargs.n_stages;
        let lengths =
            [features.len(), kernels.len(), strides.len(), kwargs.n_conv_per_stage.len(), kwargs.n_conv_per_stage_decoder.len() + 1];
        if stages < 2 || lengths != [stages; 5] {
            return Err(Error::Architecture(format!("n_stages is {stages}, but its lists have {lengths:?} entries")));
        }

        let mut builder = Builder {
            parameters,
            conv_bias: kwargs.conv_bias,
            affine: norm("affine").and_then(serde_json::Value::as_bool).unwrap_or(false),
            eps: norm("eps").and_then(serde_json::Value::as_f64).unwrap_or(1e-5),
        };
        let mut encoder = Vec::with_capacity(stages);
        let mut input = input_channels as i64;
        for i in 0..stages {
            let name = format!("encoder.stages.{i}.0");
            encoder.push(builder.stage(&name, kwargs.n_conv_per_stage[i], [input, features[i]], &kernels[i], &strides[i])?);
            input = features[i];
        }
        let mut decoder = Vec::with_capacity(stages - 1);
        for i in 0..stages - 1 {
            let (below, skip) = (stages - 1 - i, stages - 2 - i);
            let channels = [features[below], features[skip]];
            decoder.push(builder.up(i, kwargs.n_conv_per_stage_decoder[i], channels, &kernels[skip], &strides[below])?);
        }
        Ok(Self { encoder, decoder })
    }

    /// Features of `image`.
    pub fn forward(&self, image: &Tensor) -> Result<Features, Error> {
        let mut skips: Vec<Tensor> = Vec::with_capacity(self.encoder.len());
        for stage in &self.encoder {
            let map = run(stage, skips.last().unwrap_or(image))?;
            skips.push(map);
        }
        let Some(bottleneck) = skips.pop() else {
            return Err(Error::Architecture("the encoder has no stages".to_owned()));
        };
        let mut decoder: Vec<Tensor> = Vec::with_capacity(self.decoder.len());
        for (up, skip) in self.decoder.iter().zip(skips.iter().rev()) {
            let map = up.forward(decoder.last().unwrap_or(&bottleneck), skip)?;
            decoder.push(map);
        }
        decoder.reverse();
        Ok(Features { decoder, bottleneck, skips })
    }
}

fn run(blocks: &[Block], input: &Tensor) -> Result<Tensor, Error> {
    blocks.iter().try_fold(input.shallow_clone(), |map, block| block.forward(&map))
}

impl Block {
    fn forward(&self, input: &Tensor) -> Result<Tensor, Error> {
        let (weight, bias, stride, padding) = (&self.weight, self.bias.as_ref(), &*self.stride, &*self.padding);
        // By name, here and below, since autocast does not know the general `convolution`.
        let map = match stride.len() {
            2 => input.f_conv2d(weight, bias, stride, padding, 1, 1)?,
            _ => input.f_conv3d(weight, bias, stride, padding, 1, 1)?,
        };
        let none: Option<&Tensor> = None;
        let map = map.f_instance_norm(self.norm_weight.as_ref(), self.norm_bias.as_ref(), none, none, true, 0.1, self.eps, true)?;
        // torch's default slope, 0.01, is nnU-Net's.
        Ok({ map }.f_leaky_relu_()?)
    }
}

impl Up {
    fn forward(&self, below: &Tensor, skip: &Tensor) -> Result<Tensor, Error> {
        let (weight, bias, stride) = (&self.weight, self.bias.as_ref(), &*self.stride);
        let up = match stride.len() {
            2 => below.f_conv_transpose2d(weight, bias, stride, 0, 0, 1, 1)?,
            _ => below.f_conv_transpose3d(weight, bias, stride, 0, 0, 1, 1)?,
        };
        run(&self.blocks, &Tensor::f_cat(&[&up, skip], 1)?)
    }
}
