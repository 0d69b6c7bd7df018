//! A 1×1 convolution per decoder level.

use crate::{Features, Init, Params, Pass, Result, Task};
use tch::Tensor;

/// nnU-Net's segmentation layers: a 1×1 convolution at every decoder level
/// (`dynamic_network_architectures/building_blocks/unet_decoder.py`, `seg_layers`). Also serves regression.
#[derive(Debug)]
pub struct DenseHead {
    /// Weight and bias, finest level first.
    layers: Vec<(Tensor, Tensor)>,
}

impl DenseHead {
    /// `channels` maps at every decoder level. Parameters are `<name>.seg_layers.<i>.weight|bias`, `i` counted from the coarsest
    /// level, as nnU-Net does: the names of its checkpoints.
    pub fn new(name: &str, channels: i64, task: &Task, params: &mut Params) -> Result<Self> {
        let levels = task.levels();
        let mut layers = Vec::with_capacity(levels);
        for (level, features) in task.features[..levels].iter().enumerate() {
            let layer = format!("{name}.seg_layers.{}", levels - 1 - level);
            let mut shape = vec![channels, *features];
            shape.resize(2 + task.dims, 1);
            let weight = params.weight(&format!("{layer}.weight"), &shape, Init::KaimingNormal)?;
            let bias = params.weight(&format!("{layer}.bias"), &[channels], Init::Constant(0.0))?;
            layers.push((weight, bias));
        }
        Ok(Self { layers })
    }

    /// Maps (B, channels, …) of the finest `pass.levels` levels, finest first.
    pub fn forward(&self, features: &Features, pass: &Pass) -> Result<Vec<Tensor>> {
        // `conv2d` and `conv3d` by name, since autocast does not know the general `convolution`.
        let apply = |(map, (weight, bias)): (&Tensor, &(Tensor, Tensor))| {
            Ok(match map.dim() {
                4 => map.f_conv2d(weight, Some(bias), 1, 0, 1, 1)?,
                _ => map.f_conv3d(weight, Some(bias), 1, 0, 1, 1)?,
            })
        };
        features.decoder.iter().zip(&self.layers).take(pass.levels).map(apply).collect()
    }
}
