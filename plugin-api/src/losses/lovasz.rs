//! The Lovász extension of the Jaccard index: a convex surrogate of intersection over union.

use super::soft::{Soft, first_class, one_hot};
use super::{Criterion, Takes};
use crate::level::at_least_tiny;
use crate::task::Kind;
use crate::{Level, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Lovász loss: labels Lovász-softmax, mean over the classes that occur; regions Lovász hinge on the logits, mean over regions (Berman et al.
/// 2018; segmentation-models-pytorch `LovaszLoss`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lovasz {
    /// Over all voxels of the batch at once rather than of each sample. Default: the plan's batch_dice.
    pub batch: Option<bool>,
}

impl Criterion for Lovasz {
    fn fits(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Labels | Kind::Regions)
    }

    fn takes(&self) -> Takes {
        Takes { class_weights: true, ..Takes::default() }
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let batch = self.batch.unwrap_or(level.batch_dice);
        let (errors, target) = match level.kind {
            Kind::Regions => {
                let target = one_hot(level, &level.target, &level.logits)?;
                let sign = target.f_mul_scalar(2.0)?.f_add_scalar(-1.0)?;
                (level.logits.f_mul(&sign)?.f_neg()?.f_add_scalar(1.0)?, target)
            }
            _ => {
                let soft = Soft::of(level, true)?;
                (soft.target.f_sub(&soft.probabilities)?.f_abs()?, soft.target)
            }
        };
        // Without an error a voxel changes nothing: it comes behind all that have one.
        let counted = |x: Tensor| -> Result<Tensor> {
            let x = level.mask.as_ref().map_or_else(|| Ok(x.shallow_clone()), |mask| x.f_mul(mask))?;
            rows(&x, batch)
        };
        let (errors, target) = (counted(errors)?, counted(target)?);
        let (sorted, order) = errors.f_sort(-1, true)?;
        let steps = jaccard_steps(&target.f_gather(-1, &order, false)?)?;
        let losses = sorted.f_relu()?.f_mul(&steps)?.f_sum_dim_intlist([-1_i64].as_slice(), false, sorted.kind())?;
        let mut weights = match level.kind {
            Kind::Regions => losses.f_ones_like()?,
            _ => target.f_amax([-1_i64].as_slice(), false)?,
        };
        if let Some(class_weights) = &level.class_weights {
            let first = first_class(level, true);
            weights = weights.f_mul(&class_weights.f_narrow(0, first, losses.size()[1])?.f_to_kind(losses.kind())?)?;
        }
        // Mean over classes first: samples count the same, however many classes they show.
        let sum = |x: &Tensor| x.f_sum_dim_intlist([-1_i64].as_slice(), false, x.kind());
        let means = sum(&losses.f_mul(&weights)?)?.f_div(&at_least_tiny(&sum(&weights)?)?)?;
        Ok(means.f_mean(means.kind())?)
    }
}

/// (B, C, …) as one row of voxels a sample and class (B, C, N), or a class of the batch (1, C, N).
fn rows(x: &Tensor, batch: bool) -> Result<Tensor> {
    let flat = x.f_flatten(2, -1)?;
    Ok(if batch { flat.f_transpose(0, 1)?.f_flatten(1, -1)?.f_unsqueeze(0)? } else { flat })
}

/// How much the Jaccard loss grows with every further voxel that is wrong, worst first: `target` sorted by falling error (…, N).
fn jaccard_steps(target: &Tensor) -> Result<Tensor> {
    let kind = target.kind();
    let all = target.f_sum_dim_intlist([-1_i64].as_slice(), true, kind)?;
    let intersection = all.f_sub(&target.f_cumsum(-1, kind)?)?;
    let union = all.f_add(&target.f_neg()?.f_add_scalar(1.0)?.f_cumsum(-1, kind)?)?;
    let loss = intersection.f_div(&union)?.f_neg()?.f_add_scalar(1.0)?;
    let length = loss.size()[loss.dim() - 1];
    let before = Tensor::f_cat(&[loss.f_narrow(-1, 0, 1)?.f_zeros_like()?, loss.f_narrow(-1, 0, length - 1)?], -1)?;
    Ok(loss.f_sub(&before)?)
}
