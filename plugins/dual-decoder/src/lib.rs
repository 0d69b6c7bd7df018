//! A second decoder, from the trunk's skips and bottleneck.
//!
//! Two decoders on one encoder are what many papers begin with: one that segments and one that reconstructs, two whose disagreement says where
//! to believe neither, one for every task. Here, `segmentation` stays what nnU-Net has, and `second` has a decoder of its own. What it learns, and
//! by which loss, is an option; unless told otherwise, the same labels once more.
//!
//! What to take from it:
//! - [`Features`] has what a decoder is built from: the encoder's maps (`skips`, finest first) and its last one (`bottleneck`). [`Task`] says how
//!   many channels they have, and by how much each is smaller than the one before.
//! - Made by a plugin, a [`Features`] is as good as the trunk's: [`Base`] (heads, losses, deep supervision) does not ask where it is from.
//! - A trainer may hold two [`Base`]s. Outputs, heads and terms of both are put one after the other; names keep them apart.
//! - Under autocast, convolutions run in half precision if they are called by name (`conv3d`), not as the general `convolution`.

use plugin_api::tch::Tensor;
use plugin_api::{Base, Batch, Features, IndexMap, Init, JsonSchema, Loss, Output, OutputOptions, Outputs, Params, Pass};
use plugin_api::{Result, Step, Task, Trainer, export_trainer};

#[derive(Default, serde::Deserialize, JsonSchema)]
#[schemars(crate = "plugin_api::schemars")]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// What `second` learns. Its target is `segmentation` unless another one is named.
    second: OutputOptions,
}

struct DualDecoder {
    first: Base,
    second: Base,
    outputs: Vec<Output>,
    /// Finest first, as everything here.
    decoder: Vec<Stage>,
}

impl Trainer for DualDecoder {
    type Options = Options;

    fn new(task: &Task, Options { mut second }: Options, params: &mut Params) -> Result<Self> {
        second.target.get_or_insert_with(|| "segmentation".to_owned());
        let first = Base::single(task, params)?;
        let second = Base::new(task, IndexMap::from([("second".to_owned(), second)]), params)?;
        let outputs = [first.outputs(), second.outputs()].concat();
        let decoder = (0..task.levels()).map(|level| Stage::new(level, task, params)).collect::<Result<_>>()?;
        Ok(Self { first, second, outputs, decoder })
    }

    fn base(&self) -> &Base {
        &self.first
    }

    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn forward(&self, features: &Features, pass: &Pass) -> Result<Outputs> {
        let mut decoder: Vec<Tensor> = Vec::new();
        for (stage, skip) in self.decoder.iter().zip(&features.skips).rev() {
            decoder.push(stage.forward(decoder.last().unwrap_or(&features.bottleneck), skip)?);
        }
        decoder.reverse();
        let own = Features { decoder, bottleneck: features.bottleneck.shallow_clone(), skips: Vec::new() };
        let mut outputs = self.first.forward(features, pass)?;
        for (name, levels) in self.second.forward(&own, pass)? {
            levels.into_iter().for_each(|level| outputs.push(&name, level));
        }
        Ok(outputs)
    }

    fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
        let mut loss = self.first.loss(outputs, batch, step)?;
        loss.terms.extend(self.second.loss(outputs, batch, step)?.terms);
        Ok(loss)
    }
}

/// Transposed convolution, concatenation with the skip, convolution, instance norm, leaky ReLU: nnU-Net's, with one convolution.
struct Stage {
    up: Tensor,
    up_bias: Tensor,
    stride: Vec<i64>,
    /// Without a bias, which the norm would take away.
    conv: Tensor,
    padding: Vec<i64>,
    scale: Tensor,
    shift: Tensor,
}

impl Stage {
    /// The stage that makes maps of `level`, 0 being the finest, from those of the level below.
    fn new(level: usize, task: &Task, params: &mut Params) -> Result<Self> {
        let ([channels, below], stride) = ([task.features[level], task.features[level + 1]], task.strides[level + 1].clone());
        // How large the maps are. An axis of fewer than three voxels needs no kernel of three, which libtorch 2.13 gets wrong in bf16 on CPUs.
        let shrunk = |axis: usize| task.strides[..=level].iter().map(|stride| stride[axis]).product::<i64>();
        let kernel: Vec<i64> = (0..task.dims).map(|axis| if task.patch_size[axis] / shrunk(axis) < 3 { 1 } else { 3 }).collect();
        let name = |part: &str| format!("second.decoder.{level}.{part}");
        Ok(Self {
            up: params.weight(&name("up.weight"), &[&[below, channels], &*stride].concat(), Init::KaimingNormal)?,
            up_bias: params.weight(&name("up.bias"), &[channels], Init::Constant(0.0))?,
            stride,
            conv: params.weight(&name("conv.weight"), &[&[channels, 2 * channels], &*kernel].concat(), Init::KaimingNormal)?,
            padding: kernel.iter().map(|size| size / 2).collect(),
            scale: params.weight(&name("norm.weight"), &[channels], Init::Constant(1.0))?,
            shift: params.weight(&name("norm.bias"), &[channels], Init::Constant(0.0))?,
        })
    }

    fn forward(&self, below: &Tensor, skip: &Tensor) -> Result<Tensor> {
        let (none, stride, padding): (Option<&Tensor>, _, _) = (None, &*self.stride, &*self.padding);
        let map = match stride.len() {
            2 => {
                let up = below.f_conv_transpose2d(&self.up, Some(&self.up_bias), stride, 0, 0, 1, 1)?;
                Tensor::f_cat(&[&up, skip], 1)?.f_conv2d(&self.conv, none, 1, padding, 1, 1)?
            }
            _ => {
                let up = below.f_conv_transpose3d(&self.up, Some(&self.up_bias), stride, 0, 0, 1, 1)?;
                Tensor::f_cat(&[&up, skip], 1)?.f_conv3d(&self.conv, none, 1, padding, 1, 1)?
            }
        };
        Ok(map.f_instance_norm(Some(&self.scale), Some(&self.shift), none, none, true, 0.1, 1e-5, true)?.f_leaky_relu_()?)
    }
}

export_trainer!(DualDecoder, keeps = [activate]);
