//! Probabilities beside a one-hot target, class by class: what losses on overlaps, distances and skeletons begin with.

use crate::level::at_least_tiny;
use crate::task::Kind;
use crate::{Level, Result, bail};
use tch::Tensor;

/// Probabilities and target of the classes that count, both (B, C, …) of the logits' type.
pub(super) struct Soft {
    /// Softmax or sigmoid of the logits.
    pub probabilities: Tensor,
    /// 1 where the class is, else 0.
    pub target: Tensor,
    /// How much every voxel counts, (B, 1, …).
    weights: Option<Tensor>,
}

impl Soft {
    /// Of all regions, or of all labels, with `background` or without.
    pub fn of(level: &Level, background: bool) -> Result<Self> {
        let kind = level.logits.kind();
        let probabilities = match level.kind {
            Kind::Labels => level.logits.f_softmax(1, kind)?,
            Kind::Regions => level.logits.f_sigmoid()?,
            other => bail!("expected labels or regions, found {other:?}"),
        };
        let target = one_hot(level, &level.target, &probabilities)?;
        let first = first_class(level, background);
        let counted = |x: Tensor| x.f_narrow(1, first, x.size()[1] - first);
        Ok(Self { probabilities: counted(probabilities)?, target: counted(target)?, weights: level.weights(kind)? })
    }

    /// The target, 0 where nothing counts: for losses that look at neighbours.
    pub fn counted_target(&self) -> Result<Tensor> {
        Ok(match &self.weights {
            Some(weights) => self.target.f_mul(&weights.f_gt(0.0)?)?,
            None => self.target.shallow_clone(),
        })
    }

    /// Σ `values` (B, C, …), each counting as its voxel does, over the voxels of every sample (B, C) or of the `batch` (C,).
    pub fn sum(&self, values: &Tensor, batch: bool) -> Result<Tensor> {
        let weighted = match &self.weights {
            Some(weights) => values.f_mul(weights)?,
            None => values.shallow_clone(),
        };
        let voxels: Vec<i64> = (2..values.dim() as i64).collect();
        let sum = weighted.f_sum_dim_intlist(voxels.as_slice(), false, values.kind())?;
        Ok(if batch { sum.f_sum_dim_intlist(0, false, values.kind())? } else { sum })
    }

    /// Mean of `values` (B, C, …) over voxels, each counting as it does, and samples: (C,).
    pub fn mean(&self, values: &Tensor) -> Result<Tensor> {
        let sum = self.sum(values, true)?;
        Ok(match &self.weights {
            Some(weights) => sum.f_div(&at_least_tiny(&weights.f_sum(values.kind())?)?)?,
            None => sum.f_div_scalar((values.numel() as i64 / values.size()[1]) as f64)?,
        })
    }
}

/// `target`, in the form of the level's, as (B, C, …) of 0 and 1 like `like`.
pub(super) fn one_hot(level: &Level, target: &Tensor, like: &Tensor) -> Result<Tensor> {
    Ok(match level.kind {
        Kind::Regions => target.f_to_kind(like.kind())?,
        _ => like.f_zeros_like()?.f_scatter_value_(1, target, 1.0)?,
    })
}

/// Index of the first class that counts.
pub(super) fn first_class(level: &Level, background: bool) -> i64 {
    i64::from(level.kind == Kind::Labels && !background)
}

/// Mean over samples and classes of `values` (C,) or (B, C), classes counting as the level says.
pub(super) fn per_class(level: &Level, values: &Tensor, background: bool) -> Result<Tensor> {
    let Some(weights) = &level.class_weights else {
        return Ok(values.f_mean(values.kind())?);
    };
    let first = first_class(level, background);
    let weights = weights.f_narrow(0, first, weights.size()[0] - first)?.f_to_kind(values.kind())?.f_expand_as(values)?;
    Ok(values.f_mul(&weights)?.f_sum(values.kind())?.f_div(&at_least_tiny(&weights.f_sum(values.kind())?)?)?)
}

/// 1 − `index`.
pub(super) fn complement(index: &Tensor) -> Result<Tensor> {
    Ok(index.f_neg()?.f_add_scalar(1.0)?)
}
