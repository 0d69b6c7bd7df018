//! Losses to build from. Each takes one [`Level`] (logits f32 (B, C, …) beside its target and mask) and returns a scalar.

mod class;
mod cross_entropy;
mod dice;
mod regression;

use crate::task::{Kind, Target};
use crate::{Level, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind as Dtype, Tensor};

pub use class::class_cross_entropy;
pub use cross_entropy::{binary_cross_entropy, cross_entropy};
pub use dice::{Activation, soft_dice};
pub use regression::{huber, l1, mse};

/// A loss by name, as options have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossName {
    /// Soft Dice + cross-entropy, nnU-Net's default for labels.
    DiceCe,
    /// Soft Dice alone.
    Dice,
    /// Cross-entropy alone, for labels.
    Ce,
    /// Soft Dice + binary cross-entropy, nnU-Net's default for regions.
    DiceBce,
    /// Mean squared error.
    Mse,
    /// Mean absolute error.
    L1,
    /// Huber loss with δ = 1.
    Huber,
    /// Cross-entropy of an image-level class.
    ClassCe,
}

impl LossName {
    /// What an output of this kind is trained with unless told otherwise.
    pub fn default_for(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Labels => Some(Self::DiceCe),
            Kind::Regions => Some(Self::DiceBce),
            Kind::Regression => Some(Self::L1),
            Kind::Class => Some(Self::ClassCe),
            Kind::Aux => None,
        }
    }

    /// Whether it can be computed for an output of this kind.
    pub fn fits(self, kind: Kind) -> bool {
        match self {
            Self::DiceCe | Self::Ce => kind == Kind::Labels,
            Self::Dice => matches!(kind, Kind::Labels | Kind::Regions),
            Self::DiceBce => kind == Kind::Regions,
            Self::Mse | Self::L1 | Self::Huber => kind == Kind::Regression,
            Self::ClassCe => kind == Kind::Class,
        }
    }

    /// The loss at one level of an output that is compared with `target`.
    pub fn compute(self, level: &Level, target: &Target, batch_dice: bool) -> Result<Tensor> {
        match (self, target.kind) {
            (Self::DiceCe, _) => dice_ce(level, batch_dice),
            (Self::Dice, Kind::Regions) => soft_dice(level, Activation::Sigmoid, batch_dice),
            (Self::Dice, _) => soft_dice(level, Activation::Softmax, batch_dice),
            (Self::Ce, _) => cross_entropy(level),
            (Self::DiceBce, _) => dice_bce(level, batch_dice),
            (Self::Mse, _) => mse(level),
            (Self::L1, _) => l1(level),
            (Self::Huber, _) => huber(level, 1.0),
            (Self::ClassCe, _) => class_cross_entropy(level),
        }
    }
}

/// Cross-entropy + soft Dice without background (nnU-Net `DC_and_CE_loss`).
pub fn dice_ce(level: &Level, batch_dice: bool) -> Result<Tensor> {
    Ok(cross_entropy(level)?.f_add(&soft_dice(level, Activation::Softmax, batch_dice)?)?)
}

/// Binary cross-entropy + soft Dice over all regions (nnU-Net `DC_and_BCE_loss`).
pub fn dice_bce(level: &Level, batch_dice: bool) -> Result<Tensor> {
    Ok(binary_cross_entropy(level)?.f_add(&soft_dice(level, Activation::Sigmoid, batch_dice)?)?)
}

/// Σ weightᵢ · loss(level i): deep supervision. Levels of weight 0 are not evaluated. `None` when `loss` had nothing to compare.
pub fn deep_supervision(weights: &[f64], levels: usize, mut loss: impl FnMut(usize) -> Result<Option<Tensor>>) -> Result<Option<Tensor>> {
    if weights.len() < levels {
        bail!("{levels} levels of deep supervision, but {} weights", weights.len());
    }
    let mut total: Option<Tensor> = None;
    for (level, weight) in weights[..levels].iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
        let Some(value) = loss(level)? else { continue };
        let value = value.f_mul_scalar(*weight)?;
        total = Some(match total {
            Some(total) => total.f_add(&value)?,
            None => value,
        });
    }
    Ok(total)
}

/// Mean of `values` (B, C, …) where `mask` (B, 1, …) is true, everywhere without one; 0 where the mask is empty.
pub fn masked_mean(values: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let Some(mask) = mask else {
        return Ok(values.f_mean(Dtype::Float)?);
    };
    let mask = mask.f_expand_as(values)?;
    let count = mask.f_sum(Dtype::Float)?.f_clamp_min(1.0)?;
    Ok(values.f_where_self(&mask, &values.f_zeros_like()?)?.f_sum(Dtype::Float)?.f_div(&count)?)
}
