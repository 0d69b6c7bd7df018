//! One vector for the whole image.

use crate::{Error, Features, Init, Params, Pass, Result, Task};
use tch::{Kind, Tensor};

/// Weight of the newest batch in the running statistics, once there have been enough batches.
const NEWEST: f64 = 0.05;
/// Keeps the division finite where a feature does not vary.
const EPSILON: f64 = 1e-6;

/// A linear layer on two globally averaged maps, for classes of the whole image: the bottleneck, which sees most of the image at once,
/// and the finest decoder map, which knows what lies where.
///
/// Instance normalisation takes magnitudes away: averages over different images differ by about 2 % of their size. A linear layer
/// learns nothing from that within any usual budget, so every average is standardised first.
#[derive(Debug)]
pub struct ImageHead {
    bottleneck: Standardised,
    decoder: Standardised,
    weight: Tensor,
    bias: Tensor,
}

impl ImageHead {
    /// `channels` values a sample. Parameters are `<name>.fc.weight|bias`, buffers `<name>.bottleneck|decoder.mean|variance|batches`.
    ///
    /// The weights start at zero: a momentum of 0.99 amplifies a random start's first large errors until the head collapses.
    pub fn new(name: &str, channels: i64, task: &Task, params: &mut Params) -> Result<Self> {
        let (Some(finest), Some(coarsest)) = (task.features.first(), task.features.last()) else {
            return Err(Error::new("the network has no stages"));
        };
        Ok(Self {
            bottleneck: Standardised::new(&format!("{name}.bottleneck"), *coarsest, params)?,
            decoder: Standardised::new(&format!("{name}.decoder"), *finest, params)?,
            weight: params.weight(&format!("{name}.fc.weight"), &[channels, coarsest + finest], Init::Constant(0.0))?,
            bias: params.weight(&format!("{name}.fc.bias"), &[channels], Init::Constant(0.0))?,
        })
    }

    /// Logits (B, channels). Computed in f32: half precision loses what tells images apart.
    pub fn forward(&self, features: &Features, pass: &Pass) -> Result<Tensor> {
        let decoder = features.decoder.first().ok_or_else(|| Error::new("the network has no decoder"))?;
        let pooled = [self.bottleneck.forward(&features.bottleneck, pass)?, self.decoder.forward(decoder, pass)?];
        let pooled = Tensor::f_cat(&pooled, 1)?;
        // Written out, since autocast would compute `linear` in half precision.
        Ok(pooled.f_unsqueeze(1)?.f_mul(&self.weight)?.f_sum_dim_intlist(-1, false, Kind::Float)?.f_add(&self.bias)?)
    }
}

/// Global average of a map, standardised by running statistics: those of one batch of a 3D network, often two images, are worth
/// nothing.
#[derive(Debug)]
struct Standardised {
    mean: Tensor,
    variance: Tensor,
    /// Batches that the statistics have seen.
    batches: Tensor,
}

impl Standardised {
    fn new(name: &str, features: i64, params: &mut Params) -> Result<Self> {
        Ok(Self {
            mean: params.buffer(&format!("{name}.mean"), &[features], Init::Constant(0.0))?,
            variance: params.buffer(&format!("{name}.variance"), &[features], Init::Constant(1.0))?,
            batches: params.buffer(&format!("{name}.batches"), &[], Init::Constant(0.0))?,
        })
    }

    /// (B, C) from (B, C, …), of about length one a sample: momentum would otherwise amplify steps with the number of features.
    fn forward(&self, map: &Tensor, pass: &Pass) -> Result<Tensor> {
        let spatial: Vec<i64> = (2..map.dim() as i64).collect();
        let pooled = map.f_mean_dim(spatial.as_slice(), false, Kind::Float)?;
        if pass.training {
            self.observe(&pooled.detach())?;
        }
        let count = pooled.size()[1] as f64;
        let scale = self.variance.f_add_scalar(EPSILON)?.f_mul_scalar(count)?.f_rsqrt()?;
        Ok(pooled.f_sub(&self.mean)?.f_mul(&scale)?)
    }

    /// Updates the running statistics: plain averages at first, then moving ones.
    fn observe(&self, pooled: &Tensor) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let share = self.batches.shallow_clone().f_add_scalar_(1.0)?.f_reciprocal()?.f_clamp_min(NEWEST)?;
        let move_towards = |statistic: &Tensor, new: &Tensor| -> Result<()> {
            let step = new.f_sub(statistic)?.f_mul(&share)?;
            drop(statistic.shallow_clone().f_add_(&step)?);
            Ok(())
        };
        move_towards(&self.mean, &pooled.f_mean_dim(0, false, Kind::Float)?)?;
        move_towards(&self.variance, &pooled.f_sub(&self.mean)?.f_square()?.f_mean_dim(0, false, Kind::Float)?)
    }
}
