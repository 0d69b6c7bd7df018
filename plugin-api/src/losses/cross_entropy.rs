//! Voxel-wise cross-entropy.

use super::masked_mean;
use crate::{Level, Result};
use tch::{Kind, Reduction, Tensor};

/// Mean cross-entropy over the voxels that the mask leaves (nnU-Net `RobustCrossEntropyLoss`); 0 where it leaves none.
/// `level.target`: i64 labels (B, 1, …).
pub fn cross_entropy(level: &Level) -> Result<Tensor> {
    // −1 cannot be a label here: padding became background, and the ignore label is under the mask.
    const IGNORED: i64 = -1;
    let reduced = |target: &Tensor, reduction| level.logits.f_cross_entropy_loss::<Tensor>(target, None, reduction, IGNORED, 0.0);
    let Some(mask) = &level.mask else {
        return Ok(reduced(&level.target.f_squeeze_dim(1)?, Reduction::Mean)?);
    };
    let target = level.target.f_where_self(mask, &level.target.f_full_like(IGNORED)?)?.f_squeeze_dim(1)?;
    // Summed and divided here, since the mean over no voxel would be NaN.
    Ok(reduced(&target, Reduction::Sum)?.f_div(&mask.f_sum(Kind::Float)?.f_clamp_min(1.0)?)?)
}

/// Mean binary cross-entropy of every region (nnU-Net's use of `BCEWithLogitsLoss`). With a mask the sum over regions and
/// voxels is divided by the number of voxels, as nnU-Net does. `level.target`: bool regions (B, C, …).
pub fn binary_cross_entropy(level: &Level) -> Result<Tensor> {
    let target = level.target.f_to_kind(Kind::Float)?;
    let each = level.logits.f_binary_cross_entropy_with_logits::<Tensor>(&target, None, None, Reduction::None)?;
    let mean = masked_mean(&each, level.mask.as_ref())?;
    match &level.mask {
        Some(_) => Ok(mean.f_mul_scalar(each.size()[1] as f64)?),
        None => Ok(mean),
    }
}
