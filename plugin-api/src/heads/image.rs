//! One vector for the whole image.

use crate::{Features, Init, Params, Result, Task};
use tch::{Kind, Tensor};

/// A linear layer on the globally averaged bottleneck, for classes of the whole image.
#[derive(Debug)]
pub struct ImageHead {
    weight: Tensor,
    bias: Tensor,
}

impl ImageHead {
    /// `channels` values a sample. Parameters are `<name>.fc.weight|bias`.
    ///
    /// The weights start at zero: a momentum of 0.99 amplifies a random start's first large errors until the head collapses.
    pub fn new(name: &str, channels: i64, task: &Task, params: &mut Params) -> Result<Self> {
        let features = *task.features.last().ok_or_else(|| crate::Error::new("the network has no stages"))?;
        Ok(Self {
            weight: params.weight(&format!("{name}.fc.weight"), &[channels, features], Init::Constant(0.0))?,
            bias: params.weight(&format!("{name}.fc.bias"), &[channels], Init::Constant(0.0))?,
        })
    }

    /// Logits (B, channels). The mean is taken in f32: in half precision it loses what tells images apart.
    pub fn forward(&self, features: &Features) -> Result<Tensor> {
        let map = &features.bottleneck;
        let spatial: Vec<i64> = (2..map.dim() as i64).collect();
        let pooled = map.f_mean_dim(spatial.as_slice(), false, Kind::Float)?;
        Ok(pooled.f_linear(&self.weight, Some(&self.bias))?)
    }
}
