//! Losses that judge every voxel by itself: cross-entropies and the focal loss.

use super::{Criterion, Takes, check_at_least_zero};
use crate::level::{at_least_tiny, weighted_sum};
use crate::task::Kind;
use crate::{Level, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

/// What a label must not be: marks voxels that do not count.
const IGNORED: i64 = -1;

/// Cross-entropy of every voxel (B, …), times its class's weight; 0 where the mask is false.
fn each(level: &Level, smoothing: f64) -> Result<Tensor> {
    let target = level.target.f_squeeze_dim(1)?;
    let target = match &level.mask {
        Some(mask) => target.f_where_self(&mask.f_squeeze_dim(1)?, &target.f_full_like(IGNORED)?)?,
        None => target,
    };
    let class_weights = level.class_weights.as_ref().map(|weights| weights.f_to_kind(level.logits.kind())).transpose()?;
    Ok(level.logits.f_cross_entropy_loss(&target, class_weights, Reduction::None, IGNORED, smoothing)?)
}

/// Mean of `values` (B, …) that are multiplied with their classes' weights already, divided by the sum of these.
fn mean_by_class(level: &Level, values: &Tensor) -> Result<Tensor> {
    let values = values.f_unsqueeze(1)?;
    let Some(class_weights) = &level.class_weights else {
        return level.mean(&values);
    };
    let counts = class_weights.f_to_kind(values.kind())?.f_index_select(0, &level.target.f_flatten(0, -1)?)?.f_view_as(&values)?;
    let weights = level.weights(values.kind())?.map_or_else(|| values.f_ones_like(), Ok)?;
    let all = weighted_sum(&counts, &weights)?;
    Ok(weighted_sum(&values, &weights)?.f_div(&at_least_tiny(&all)?)?)
}

/// Cross-entropy, mean over voxels; with class weights the mean weighs every voxel by its class (torch `CrossEntropyLoss`; nnU-Net
/// `RobustCrossEntropyLoss`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropy {
    /// Share of the target that is spread evenly over all classes (label smoothing, Szegedy et al. 2016).
    pub smoothing: f64,
}

impl Criterion for CrossEntropy {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Labels
    }

    fn check(&self) -> Result<()> {
        check_smoothing(self.smoothing)
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        if level.mask.is_none() && level.weight_map.is_none() && level.class_weights.is_none() {
            let target = level.target.f_squeeze_dim(1)?;
            return Ok(level.logits.f_cross_entropy_loss::<Tensor>(&target, None, Reduction::Mean, IGNORED, self.smoothing)?);
        }
        mean_by_class(level, &each(level, self.smoothing)?)
    }
}

/// Cross-entropy of the hardest voxels: mean of the largest k % of those that count (nnU-Net `TopKLoss`, which counts ignored voxels
/// among the hundred). Weights are factors of a voxel's loss.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TopK {
    /// Per cent of the voxels.
    pub k: f64,
    /// Share of the target that is spread evenly over all classes.
    pub smoothing: f64,
}

impl Default for TopK {
    fn default() -> Self {
        Self { k: 10.0, smoothing: 0.0 }
    }
}

impl Criterion for TopK {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Labels
    }

    fn check(&self) -> Result<()> {
        if !(self.k > 0.0 && self.k <= 100.0) {
            bail!("k is {}; expected per cent, more than 0 and at most 100", self.k);
        }
        check_smoothing(self.smoothing)
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let mut values = each(level, self.smoothing)?;
        if let Some(map) = &level.weight_map {
            values = values.f_mul(&map.f_squeeze_dim(1)?)?;
        }
        let counted = match &level.mask {
            Some(mask) => values.f_masked_select(&mask.f_squeeze_dim(1)?)?,
            None => values.f_flatten(0, -1)?,
        };
        if counted.numel() == 0 {
            return Ok(counted.f_sum(counted.kind())?);
        }
        let number = (counted.numel() as f64 * self.k / 100.0) as i64;
        let (hardest, _) = counted.f_topk(number.max(1), 0, true, false)?;
        Ok(hardest.f_mean(hardest.kind())?)
    }
}

/// Binary cross-entropy, mean over regions and voxels (torch `BCEWithLogitsLoss`). With a mask or a weight map the sum over regions and voxels
/// is divided by the number of voxels alone, as nnU-Net does with its mask (`DC_and_BCE_loss`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BinaryCrossEntropy {}

impl Criterion for BinaryCrossEntropy {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Regions
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let mean = level.mean(&by_region(level, binary(level)?)?)?;
        match level.mask.is_some() || level.weight_map.is_some() {
            true => Ok(mean.f_mul_scalar(level.logits.size()[1] as f64)?),
            false => Ok(mean),
        }
    }
}

/// Focal loss: labels −mean (1 − p)^γ ln p over voxels, p being the probability of the right class; regions the same of p or 1 − p, mean
/// over regions and voxels (Lin et al. 2017; MONAI `FocalLoss`, whose mean for labels is over classes, too).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Focal {
    /// How much voxels that are nearly right count less.
    pub gamma: f64,
    /// Regions: factor of voxels inside; those outside have 1 − alpha. Default: 1 for both.
    pub alpha: Option<f64>,
}

impl Default for Focal {
    fn default() -> Self {
        Self { gamma: 2.0, alpha: None }
    }
}

impl Criterion for Focal {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Regions || kind == Kind::Labels && self.alpha.is_none()
    }

    fn check(&self) -> Result<()> {
        check_at_least_zero(&[("gamma", self.gamma)])?;
        match self.alpha {
            Some(alpha) if !(0.0..=1.0).contains(&alpha) => bail!("alpha is {alpha}; expected a share from 0 to 1"),
            _ => Ok(()),
        }
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        if level.kind == Kind::Labels {
            let right = level.logits.f_log_softmax(1, level.logits.kind())?.f_gather(1, &level.target, false)?.f_squeeze_dim(1)?;
            // A power has no gradient at 0, unless it is kept away from there.
            let miss = right.f_exp()?.f_neg()?.f_add_scalar(1.0)?.f_clamp_min(1e-12)?;
            return mean_by_class(level, &each(level, 0.0)?.f_mul(&miss.f_pow_tensor_scalar(self.gamma)?)?);
        }
        let inside = level.target.f_to_kind(level.logits.kind())?;
        // ln (1 − p) of the right answer's p, without forming p.
        let sign = inside.f_mul_scalar(-2.0)?.f_add_scalar(1.0)?;
        let miss = level.logits.f_mul(&sign)?.f_log_sigmoid()?.f_mul_scalar(self.gamma)?.f_exp()?;
        let mut values = binary(level)?.f_mul(&miss)?;
        if let Some(alpha) = self.alpha {
            values = values.f_mul(&inside.f_mul_scalar(2.0 * alpha - 1.0)?.f_add_scalar(1.0 - alpha)?)?;
        }
        level.mean(&by_region(level, values)?)
    }
}

/// Cross-entropy of one class for the whole image: logits (B, C), target i64 (B,); mean over samples (torch `CrossEntropyLoss`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassCrossEntropy {
    /// Share of the target that is spread evenly over all classes.
    pub smoothing: f64,
}

impl Criterion for ClassCrossEntropy {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Class
    }

    fn takes(&self) -> Takes {
        Takes { class_weights: true, ..Takes::default() }
    }

    fn check(&self) -> Result<()> {
        check_smoothing(self.smoothing)
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let Some(weights) = &level.class_weights else {
            return Ok(level.logits.f_cross_entropy_loss::<Tensor>(&level.target, None, Reduction::Mean, IGNORED, self.smoothing)?);
        };
        // Summed and divided here, since the mean over classes of weight 0 would be NaN.
        let weights = weights.f_to_kind(level.logits.kind())?;
        let sum = level.logits.f_cross_entropy_loss(&level.target, Some(&weights), Reduction::Sum, IGNORED, self.smoothing)?;
        Ok(sum.f_div(&at_least_tiny(&weights.f_index_select(0, &level.target)?.f_sum(weights.kind())?)?)?)
    }
}

fn binary(level: &Level) -> Result<Tensor> {
    let target = level.target.f_to_kind(level.logits.kind())?;
    Ok(level.logits.f_binary_cross_entropy_with_logits::<Tensor>(&target, None, None, Reduction::None)?)
}

/// `values` (B, C, …), each region counting as its weight says, of mean 1.
fn by_region(level: &Level, values: Tensor) -> Result<Tensor> {
    let Some(weights) = &level.class_weights else { return Ok(values) };
    let weights = weights.f_to_kind(values.kind())?;
    let weights = weights.f_div(&at_least_tiny(&weights.f_mean(values.kind())?)?)?;
    let mut shape = vec![1; values.dim()];
    shape[1] = -1;
    Ok(values.f_mul(&weights.f_view(shape.as_slice())?)?)
}

fn check_smoothing(smoothing: f64) -> Result<()> {
    if !(0.0..=1.0).contains(&smoothing) {
        bail!("smoothing is {smoothing}; expected a share from 0 to 1");
    }
    Ok(())
}
