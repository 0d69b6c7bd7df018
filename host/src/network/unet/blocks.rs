//! What U-Nets are made of: convolution → dropout → norm → nonlinearity, and residual blocks of these
//! (`dynamic_network_architectures/building_blocks/{simple_conv_blocks,residual}.py`).

use super::spec::{BlockKind, Dropout, LayerSpec, Nonlinearity};
use super::{Error, Parameters};
use plugin_api::Init;
use tch::{Device, Kind, Tensor};

/// One step of a stage.
#[derive(Debug)]
pub(super) enum Block {
    Conv(ConvBlock),
    Residual(Box<ResidualBlock>),
}

/// conv → dropout → norm → nonlinearity. `ConvDropoutNormReLU`.
#[derive(Debug)]
pub(super) struct ConvBlock {
    pub conv: Conv,
    dropout: Option<Dropout>,
    pub norm: Option<Norm>,
    pub nonlinearity: Option<Nonlinearity>,
}

/// conv1 → conv2, added to a skip that is pooled and projected where shapes ask for it. `BasicBlockD` (He et al. 2019, ResNet-D).
#[derive(Debug)]
pub(super) struct ResidualBlock {
    pub first: ConvBlock,
    pub second: ConvBlock,
    /// Average pooling with this kernel and stride.
    pub pool: Option<Vec<i64>>,
    pub projection: Option<ConvBlock>,
    pub nonlinearity: Nonlinearity,
}

#[derive(Debug)]
pub(super) struct Conv {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    pub stride: Vec<i64>,
    padding: Vec<i64>,
}

/// Instance norm; batch norm where it has running statistics.
#[derive(Debug)]
pub(super) struct Norm {
    pub weight: Option<Tensor>,
    pub bias: Option<Tensor>,
    /// Mean and variance.
    pub running: Option<[Tensor; 2]>,
    pub eps: f64,
    momentum: f64,
}

/// Makes blocks of one network; their tensors go to `parameters` under nnU-Net's names.
pub(super) struct Builder<'a> {
    pub parameters: &'a mut Parameters,
    pub layers: LayerSpec,
}

impl Builder<'_> {
    /// A convolution's bias, where convolutions have one.
    pub fn bias(&mut self, name: &str, channels: i64) -> Result<Option<Tensor>, Error> {
        self.layers.bias.then(|| self.parameters.create(format!("{name}.bias"), &[channels], Init::Constant(0.0))).transpose()
    }

    /// `channels` are in and out.
    fn conv_block(&mut self, name: &str, channels: [i64; 2], kernel: &[i64], stride: &[i64]) -> Result<ConvBlock, Error> {
        let conv = self.conv(&format!("{name}.conv"), channels, kernel, stride)?;
        let LayerSpec { dropout, nonlinearity, .. } = self.layers;
        Ok(ConvBlock { conv, dropout, norm: self.norm(&format!("{name}.norm"), channels[1], 1.0)?, nonlinearity: Some(nonlinearity) })
    }

    /// A stage of `count` blocks, convolutions or residual ones; the first one changes channels and has the stride.
    pub fn stage(
        &mut self,
        kind: BlockKind,
        name: &str,
        count: i64,
        channels: [i64; 2],
        kernel: &[i64],
        stride: &[i64],
    ) -> Result<Vec<Block>, Error> {
        let ones = vec![1; stride.len()];
        let block = |i| {
            let (channels, stride) = if i == 0 { (channels, stride) } else { ([channels[1]; 2], ones.as_slice()) };
            Ok(match kind {
                BlockKind::Plain => Block::Conv(self.conv_block(&format!("{name}.convs.{i}"), channels, kernel, stride)?),
                BlockKind::Residual => {
                    Block::Residual(Box::new(self.residual_block(&format!("{name}.blocks.{i}"), channels, kernel, stride)?))
                }
            })
        };
        (0..count).map(block).collect()
    }

    fn residual_block(&mut self, name: &str, channels: [i64; 2], kernel: &[i64], stride: &[i64]) -> Result<ResidualBlock, Error> {
        let [input, output] = channels;
        let ones = vec![1; kernel.len()];
        let first = self.conv_block(&format!("{name}.conv1"), channels, kernel, stride)?;
        let conv = self.conv(&format!("{name}.conv2.conv"), [output, output], kernel, &ones)?;
        // Every block starts as its skip alone (`init_last_bn_before_add_to_0`).
        let norm = self.norm(&format!("{name}.conv2.norm"), output, 0.0)?;
        let second = ConvBlock { conv, dropout: None, norm, nonlinearity: None };
        let pool = stride.iter().any(|stride| *stride != 1).then(|| stride.to_vec());
        let projection = if input == output {
            None
        } else {
            // Where there is pooling, it comes first in nnU-Net's list.
            let name = format!("{name}.skip.{}", usize::from(pool.is_some()));
            let weight = self.weight(&format!("{name}.conv"), channels, &ones)?;
            let conv = Conv { weight, bias: None, padding: vec![0; ones.len()], stride: ones };
            Some(ConvBlock { conv, dropout: None, norm: self.norm(&format!("{name}.norm"), output, 1.0)?, nonlinearity: None })
        };
        Ok(ResidualBlock { first, second, pool, projection, nonlinearity: self.layers.nonlinearity })
    }

    fn weight(&mut self, name: &str, [input, output]: [i64; 2], kernel: &[i64]) -> Result<Tensor, Error> {
        let shape: Vec<i64> = [output, input].iter().chain(kernel).copied().collect();
        self.parameters.create(format!("{name}.weight"), &shape, Init::KaimingNormal)
    }

    fn conv(&mut self, name: &str, channels: [i64; 2], kernel: &[i64], stride: &[i64]) -> Result<Conv, Error> {
        let padding = kernel.iter().map(|k| (k - 1) / 2).collect();
        let weight = self.weight(name, channels, kernel)?;
        Ok(Conv { weight, bias: self.bias(name, channels[1])?, stride: stride.to_vec(), padding })
    }

    /// `weight` is the initial value of its weights.
    fn norm(&mut self, name: &str, channels: i64, weight: f64) -> Result<Option<Norm>, Error> {
        let Some(spec) = self.layers.norm else { return Ok(None) };
        let mut affine = |part: &str, value| {
            let create = || self.parameters.create(format!("{name}.{part}"), &[channels], Init::Constant(value));
            spec.affine.then(create).transpose()
        };
        let (weight, bias) = (affine("weight", weight)?, affine("bias", 0.0)?);
        let mut running = |part: &str, value| self.parameters.create_buffer(format!("{name}.running_{part}"), &[channels], value);
        let running = if spec.batch { Some([running("mean", 0.0)?, running("var", 1.0)?]) } else { None };
        Ok(Some(Norm { weight, bias, running, eps: spec.eps, momentum: spec.momentum }))
    }
}

/// All `blocks`, one after the other.
pub(super) fn run<'a>(blocks: impl IntoIterator<Item = &'a Block>, input: &Tensor, training: bool) -> Result<Tensor, Error> {
    blocks.into_iter().try_fold(input.shallow_clone(), |map, block| block.forward(&map, training))
}

impl Block {
    fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor, Error> {
        match self {
            Self::Conv(block) => block.forward(input, training),
            Self::Residual(block) => block.forward(input, training),
        }
    }
}

impl ConvBlock {
    fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor, Error> {
        let mut map = self.conv.forward(input)?;
        if let Some(Dropout { p, channels }) = self.dropout {
            map = if channels { map.f_feature_dropout(p, training)? } else { map.f_dropout(p, training)? };
        }
        if let Some(norm) = &self.norm {
            map = norm.forward(&map, training)?;
        }
        match self.nonlinearity {
            Some(nonlinearity) => nonlinearity.apply(map),
            None => Ok(map),
        }
    }
}

impl ResidualBlock {
    fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor, Error> {
        let mut skip = input.shallow_clone();
        if let Some(size) = self.pool.as_deref() {
            skip = match size.len() {
                2 => skip.f_avg_pool2d(size, size, 0, false, true, None)?,
                _ => skip.f_avg_pool3d(size, size, 0, false, true, None)?,
            };
        }
        if let Some(projection) = &self.projection {
            skip = projection.forward(&skip, training)?;
        }
        let mut map = self.second.forward(&self.first.forward(input, training)?, training)?;
        self.nonlinearity.apply(map.f_add_(&skip)?)
    }
}

impl Conv {
    fn forward(&self, input: &Tensor) -> Result<Tensor, Error> {
        let (weight, bias, stride, padding) = (&self.weight, self.bias.as_ref(), &*self.stride, &*self.padding);
        // By name, as everywhere in this folder, since autocast does not know the general `convolution`.
        Ok(match stride.len() {
            2 => input.f_conv2d(weight, bias, stride, padding, 1, 1)?,
            _ if self.is_deeper_than(input) => {
                let input = input.f_to_kind(Kind::Float)?;
                input.f_convolution(weight, bias, stride, padding, [1; 3].as_slice(), false, [0; 3].as_slice(), 1)?
            }
            _ => input.f_conv3d(weight, bias, stride, padding, 1, 1)?,
        })
    }

    /// Whether the kernel is deeper than `input` on a CPU. There libtorch 2.13 (oneDNN) computes garbage for the weights' gradient in
    /// bfloat16, unless that is kept out of autocast.
    fn is_deeper_than(&self, input: &Tensor) -> bool {
        input.device() == Device::Cpu && input.size()[2] < self.weight.size()[2]
    }
}

impl Norm {
    fn forward(&self, input: &Tensor, training: bool) -> Result<Tensor, Error> {
        let (weight, bias) = (self.weight.as_ref(), self.bias.as_ref());
        Ok(match &self.running {
            Some([mean, var]) => input.f_batch_norm(weight, bias, Some(mean), Some(var), training, self.momentum, self.eps, true)?,
            None => {
                let none: Option<&Tensor> = None;
                input.f_instance_norm(weight, bias, none, none, true, self.momentum, self.eps, true)?
            }
        })
    }
}

impl Nonlinearity {
    /// In place where torch can.
    fn apply(self, mut map: Tensor) -> Result<Tensor, Error> {
        Ok(match self {
            // torch's default slope is nnU-Net's.
            Self::LeakyRelu(0.01) => map.f_leaky_relu_()?,
            // The same function with the slope as a tensor; tch's leaky ReLU has no slope of its own.
            Self::LeakyRelu(slope) => map.f_prelu(&Tensor::f_full([1], slope, (map.kind(), map.device()))?)?,
            Self::Relu => map.f_relu_()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shim::Autocast;

    #[test]
    fn a_kernel_deeper_than_its_map_has_its_gradient_in_bf16_too() {
        let weight = Tensor::randn([32, 32, 3, 3, 3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let conv = Conv { weight, bias: None, stride: vec![1; 3], padding: vec![1; 3] };
        let map = Tensor::randn([2, 32, 2, 8, 8], (Kind::Float, Device::Cpu));
        let gradient = || {
            drop(conv.weight.grad().zero_());
            conv.forward(&map).expect("runs").square().mean(Kind::Float).backward();
            conv.weight.grad().copy()
        };
        conv.forward(&map).expect("runs").sum(Kind::Float).backward();
        let exact = gradient();
        for _ in 0..5 {
            // What was in memory before is what showed.
            drop((14..22).map(|size| Tensor::full([1 << size], 1e20, (Kind::Float, Device::Cpu))).collect::<Vec<_>>());
            let rounded = {
                let _autocast = Autocast::enter(Device::Cpu, false).expect("enters");
                gradient()
            };
            let off = ((rounded - &exact).abs().max() / exact.abs().max()).double_value(&[]);
            assert!(off < 0.02, "off by {off:e}");
        }
    }
}
