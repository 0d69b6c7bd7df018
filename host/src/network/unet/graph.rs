//! A U-Net as the CPU engine computes it: the same layers in evaluation, where dropout does nothing, batch norm is a scale and a shift, and a bias
//! before instance norm changes nothing.

use super::blocks::{Block, Conv, ConvBlock, Norm, ResidualBlock};
use super::layers::{UnetLayers, Up};
use super::spec::Nonlinearity;
use super::{Error, TrunkGraph};
use kernels::{Convolution, Graph, TransposedConvolution, Value};
use tch::{Device, Kind, Tensor};

/// `layers` with the weights that they have now.
pub(super) fn of(layers: &UnetLayers) -> Result<TrunkGraph, Error> {
    let first = layers.encoder.first().and_then(|stage| stage.first());
    let channels = match first {
        Some(Block::Conv(block)) => block.conv.weight.size()[1],
        Some(Block::Residual(block)) => block.first.conv.weight.size()[1],
        None => return Err(Error::Architecture("the encoder has no stages".to_owned())),
    };
    let mut graph = Graph::new(channels as usize);
    let mut skips = Vec::with_capacity(layers.encoder.len());
    let mut value = graph.image();
    for stage in &layers.encoder {
        value = blocks(&mut graph, stage, &[value])?;
        skips.push(value);
    }
    let bottleneck = value;
    skips.pop();
    let mut decoder = Vec::with_capacity(layers.decoder.len());
    for (up, skip) in layers.decoder.iter().zip(skips.iter().rev()) {
        let raised = graph.transposed(value, transposed(up)?);
        value = blocks(&mut graph, &up.blocks, &[raised, *skip])?;
        decoder.push(value);
    }
    decoder.reverse();
    Ok(TrunkGraph { graph, decoder, bottleneck, skips })
}

/// One block after the other; the first one reads `inputs`, concatenated.
fn blocks(graph: &mut Graph, blocks: &[Block], inputs: &[Value]) -> Result<Value, Error> {
    let mut inputs = inputs.to_vec();
    for block in blocks {
        let value = match block {
            Block::Conv(block) => graph.convolution(&inputs, convolution(block)?),
            Block::Residual(block) => residual(graph, block, inputs[0])?,
        };
        inputs = vec![value];
    }
    Ok(inputs[0])
}

fn residual(graph: &mut Graph, block: &ResidualBlock, input: Value) -> Result<Value, Error> {
    let ResidualBlock { first, second, pool, projection, nonlinearity } = block;
    let mut skip = input;
    if let Some(size) = pool {
        skip = graph.average_pool(skip, box_of(size));
    }
    if let Some(projection) = projection {
        skip = graph.convolution(&[skip], convolution(projection)?);
    }
    let first = graph.convolution(&[input], convolution(first)?);
    let second = graph.convolution(&[first], convolution(second)?);
    Ok(graph.add([second, skip], slope(Some(*nonlinearity))?))
}

fn convolution(block: &ConvBlock) -> Result<Convolution, Error> {
    let ConvBlock { conv, norm, nonlinearity, .. } = block;
    let size = conv.weight.size();
    Ok(Convolution {
        weight: floats(&conv.weight)?,
        outputs: size[0] as usize,
        kernel: box_of(&size[2..]),
        stride: box_of(&conv.stride),
        norm: norm_after(conv, norm.as_ref())?,
        slope: slope(*nonlinearity)?,
    })
}

fn norm_after(conv: &Conv, norm: Option<&Norm>) -> Result<kernels::Norm, Error> {
    let channels = conv.weight.size()[0] as usize;
    let or = |tensor: Option<&Tensor>, value: f32| tensor.map_or_else(|| Ok(vec![value; channels]), floats);
    let bias = or(conv.bias.as_ref(), 0.0)?;
    let Some(norm) = norm else { return Ok(kernels::Norm::Fixed { scale: vec![1.0; channels], shift: bias }) };
    let (weight, shift) = (or(norm.weight.as_ref(), 1.0)?, or(norm.bias.as_ref(), 0.0)?);
    let Some([mean, variance]) = &norm.running else {
        return Ok(kernels::Norm::Instance { scale: weight, shift, eps: norm.eps });
    };
    let (mean, variance) = (floats(mean)?, floats(variance)?);
    let fixed = |channel: usize| {
        let scale = f64::from(weight[channel]) / (f64::from(variance[channel]) + norm.eps).sqrt();
        let shift = f64::from(shift[channel]) + (f64::from(bias[channel]) - f64::from(mean[channel])) * scale;
        (scale as f32, shift as f32)
    };
    let (scale, shift) = (0..channels).map(fixed).unzip();
    Ok(kernels::Norm::Fixed { scale, shift })
}

fn transposed(up: &Up) -> Result<TransposedConvolution, Error> {
    let bias = up.bias.as_ref().map_or(Ok(Vec::new()), floats)?;
    Ok(TransposedConvolution { weight: floats(&up.weight)?, bias, outputs: up.weight.size()[1] as usize, stride: box_of(&up.stride) })
}

fn slope(nonlinearity: Option<Nonlinearity>) -> Result<f32, Error> {
    match nonlinearity {
        None => Ok(1.0),
        Some(Nonlinearity::Relu) => Ok(0.0),
        Some(Nonlinearity::LeakyRelu(slope)) if (0.0..=1.0).contains(&slope) => Ok(slope as f32),
        Some(Nonlinearity::LeakyRelu(slope)) => Err(Error::Engine(format!("a leaky ReLU has the slope {slope}; expected 0 to 1"))),
    }
}

/// Sizes ([z,] y, x) as (z, y, x).
fn box_of(sizes: &[i64]) -> [usize; 3] {
    let mut all = [1; 3];
    all[3 - sizes.len()..].iter_mut().zip(sizes).for_each(|(to, from)| *to = *from as usize);
    all
}

fn floats(tensor: &Tensor) -> Result<Vec<f32>, Error> {
    let plain = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut values = vec![0.0; plain.numel()];
    plain.f_copy_data(&mut values, plain.numel())?;
    Ok(values)
}
