//! The layers of nnU-Net's U-Nets
//! (`dynamic_network_architectures/architectures/unet.py`, `building_blocks/{plain_conv_encoder,residual_encoders,unet_decoder}.py`).
//!
//! Encoder: stages of blocks, the first of a stage strided; a residual encoder has a stem of one convolution before them. Decoder,
//! coarsest first: transposed convolution, concatenation with the skip, convolutions. Its maps are the features that heads work on.

use super::blocks::{Block, Builder, run};
use super::spec::{BlockKind, Unet};
use super::{Error, Layers, Parameters, TrunkGraph, graph};
use plugin_api::{Features, Init};
use tch::Tensor;

/// Encoder and decoder.
#[derive(Debug)]
pub(super) struct UnetLayers {
    /// Finest first; a stem is part of the first stage.
    pub(super) encoder: Vec<Vec<Block>>,
    /// Coarsest first, as nnU-Net counts them.
    pub(super) decoder: Vec<Up>,
    dropout: bool,
}

#[derive(Debug)]
pub(super) struct Up {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub stride: Vec<i64>,
    pub blocks: Vec<Block>,
}

impl UnetLayers {
    /// Builds `unet` for `input_channels`; its parameters are added to `parameters`.
    pub fn new(unet: &Unet, input_channels: i64, parameters: &mut Parameters) -> Result<Self, Error> {
        let mut builder = Builder { parameters, layers: unet.layers };
        let encoder = encoder(&mut builder, unet, input_channels)?;
        let stages = encoder.len();
        let decoder = (0..stages - 1).map(|i| up(&mut builder, unet, i, [stages - 1 - i, stages - 2 - i])).collect::<Result<_, _>>()?;
        Ok(Self { encoder, decoder, dropout: unet.layers.dropout.is_some_and(|dropout| dropout.p > 0.0) })
    }
}

impl Layers for UnetLayers {
    fn draws(&self) -> bool {
        self.dropout
    }

    fn forward(&self, image: &Tensor, training: bool) -> Result<Features, Error> {
        let mut skips: Vec<Tensor> = Vec::with_capacity(self.encoder.len());
        for stage in &self.encoder {
            let map = run(stage, skips.last().unwrap_or(image), training)?;
            skips.push(map);
        }
        let Some(bottleneck) = skips.pop() else {
            return Err(Error::Architecture("the encoder has no stages".to_owned()));
        };
        let mut decoder: Vec<Tensor> = Vec::with_capacity(self.decoder.len());
        for (up, skip) in self.decoder.iter().zip(skips.iter().rev()) {
            let map = up.forward(decoder.last().unwrap_or(&bottleneck), skip, training)?;
            decoder.push(map);
        }
        decoder.reverse();
        Ok(Features { decoder, bottleneck, skips })
    }

    fn graph(&self) -> Result<TrunkGraph, Error> {
        graph::of(self)
    }
}

fn encoder(builder: &mut Builder, unet: &Unet, input_channels: i64) -> Result<Vec<Vec<Block>>, Error> {
    let mut encoder = Vec::with_capacity(unet.features.len());
    let (mut input, mut stem) = (input_channels, Vec::new());
    if unet.encoder.has_stem {
        let ones = vec![1; unet.kernels[0].len()];
        stem = builder.stage(BlockKind::Plain, "encoder.stem", 1, [input, unet.features[0]], &unet.kernels[0], &ones)?;
        input = unet.features[0];
    }
    for (i, output) in unet.features.iter().enumerate() {
        let (kind, name, channels) = (unet.encoder.block, (unet.encoder.stage)(i), [input, *output]);
        let mut stage = std::mem::take(&mut stem);
        stage.extend(builder.stage(kind, &name, unet.blocks[i], channels, &unet.kernels[i], &unet.strides[i])?);
        encoder.push(stage);
        input = *output;
    }
    Ok(encoder)
}

/// Decoder stage `index`, from stage `below` of the encoder to stage `skip`.
fn up(builder: &mut Builder, unet: &Unet, index: usize, [below, skip]: [usize; 2]) -> Result<Up, Error> {
    let (kernel, stride) = (&unet.kernels[skip], &unet.strides[below]);
    let [below, skip] = [below, skip].map(|stage| unet.features[stage]);
    let name = format!("decoder.transpconvs.{index}");
    let shape: Vec<i64> = [below, skip].iter().chain(stride).copied().collect();
    let weight = builder.parameters.create(format!("{name}.weight"), &shape, Init::KaimingNormal)?;
    let bias = builder.bias(&name, skip)?;
    let ones = vec![1; kernel.len()];
    let (stage, count) = (format!("decoder.stages.{index}"), unet.decoder_convs[index]);
    let blocks = builder.stage(BlockKind::Plain, &stage, count, [2 * skip, skip], kernel, &ones)?;
    Ok(Up { weight, bias, stride: stride.clone(), blocks })
}

impl Up {
    fn forward(&self, below: &Tensor, skip: &Tensor, training: bool) -> Result<Tensor, Error> {
        let (weight, bias, stride) = (&self.weight, self.bias.as_ref(), &*self.stride);
        let up = match stride.len() {
            2 => below.f_conv_transpose2d(weight, bias, stride, 0, 0, 1, 1)?,
            _ => below.f_conv_transpose3d(weight, bias, stride, 0, 0, 1, 1)?,
        };
        run(&self.blocks, &Tensor::f_cat(&[&up, skip], 1)?, training)
    }
}
