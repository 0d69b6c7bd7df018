//! Soft Dice.

use crate::{Level, Result};
use tch::{Kind, Tensor};

/// What turns logits into probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Exclusive classes; the first, background, is left out of the Dice.
    Softmax,
    /// Overlapping regions; all count.
    Sigmoid,
}

/// nnU-Net adds it to numerator and denominator.
const SMOOTH: f64 = 1e-5;

/// −mean over (samples and) classes of (2 Σpg + s) / max(Σp + Σg + s, 1e-8), sums over voxels, and over the batch with `batch_dice`
/// (nnU-Net `MemoryEfficientSoftDiceLoss`). `level.target`: labels (B, 1, …) or regions (B, C, …).
pub fn soft_dice(level: &Level, activation: Activation, batch_dice: bool) -> Result<Tensor> {
    let (mut probabilities, first) = match activation {
        Activation::Softmax => (level.logits.f_softmax(1, Kind::Float)?, 1),
        Activation::Sigmoid => (level.logits.f_sigmoid()?, 0),
    };
    let classes = probabilities.size()[1] - first;
    let target = one_hot(level, &probabilities, activation)?.f_narrow(1, first, classes)?;
    probabilities = probabilities.f_narrow(1, first, classes)?;
    if let Some(mask) = &level.mask {
        probabilities = probabilities.f_mul(mask)?;
    }
    let voxels: Vec<i64> = (2..probabilities.dim() as i64).collect();
    let sum = |x: &Tensor| -> Result<Tensor> {
        let sum = x.f_sum_dim_intlist(voxels.as_slice(), false, Kind::Float)?;
        Ok(if batch_dice { sum.f_sum_dim_intlist(0, false, Kind::Float)? } else { sum })
    };
    let intersection = sum(&probabilities.f_mul(&target)?)?;
    let denominator = sum(&probabilities)?.f_add(&sum(&target)?)?.f_add_scalar(SMOOTH)?.f_clamp_min(1e-8)?;
    let dice = intersection.f_mul_scalar(2.0)?.f_add_scalar(SMOOTH)?.f_div(&denominator)?;
    Ok(dice.f_mean(Kind::Float)?.f_neg()?)
}

/// The target as f32 (B, C, …), zero under the mask.
fn one_hot(level: &Level, like: &Tensor, activation: Activation) -> Result<Tensor> {
    let target = match activation {
        Activation::Softmax => like.f_zeros_like()?.f_scatter_value_(1, &level.target, 1.0)?,
        Activation::Sigmoid => level.target.f_to_kind(Kind::Float)?,
    };
    match &level.mask {
        Some(mask) => Ok(target.f_mul(mask)?),
        None => Ok(target),
    }
}
