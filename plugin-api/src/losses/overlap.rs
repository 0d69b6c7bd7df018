//! Losses on how much prediction and target overlap: Dice and its relatives. Sums run over the voxels of a sample, or of the batch.
//!
//! All are made from three sums a class: S(pg), S(p) and S(g), with the probability p and the target g ∈ {0, 1}.

use super::soft::{Soft, complement, per_class};
use super::{Criterion, Takes, check_at_least_zero};
use crate::level::at_least_tiny;
use crate::task::Kind;
use crate::{Level, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// nnU-Net and MONAI add it to numerators and denominators.
const SMOOTH: f64 = 1e-5;

/// Sums over voxels, (C,) over the batch or (B, C).
struct Overlap {
    /// S(pg).
    both: Tensor,
    /// S(p), or S(p²).
    predicted: Tensor,
    /// S(g).
    there: Tensor,
}

impl Overlap {
    fn of(level: &Level, background: bool, squared: bool, batch: Option<bool>) -> Result<Self> {
        let soft = Soft::of(level, background)?;
        let batch = batch.unwrap_or(level.batch_dice);
        let predicted = if squared { soft.sum(&soft.probabilities.f_square()?, batch)? } else { soft.sum(&soft.probabilities, batch)? };
        Ok(Self { both: soft.sum(&soft.probabilities.f_mul(&soft.target)?, batch)?, predicted, there: soft.sum(&soft.target, batch)? })
    }

    /// (2 S(pg) + s) / (S(p) + S(g) + s).
    fn dice(&self) -> Result<Tensor> {
        let denominator = self.predicted.f_add(&self.there)?.f_add_scalar(SMOOTH)?;
        Ok(self.both.f_mul_scalar(2.0)?.f_add_scalar(SMOOTH)?.f_div(&denominator)?)
    }

    /// (S(pg) + s) / (S(pg) + α (S(p) − S(pg)) + β (S(g) − S(pg)) + s).
    fn tversky(&self, alpha: f64, beta: f64) -> Result<Tensor> {
        let misses = self.predicted.f_sub(&self.both)?.f_mul_scalar(alpha)?.f_add(&self.there.f_sub(&self.both)?.f_mul_scalar(beta)?)?;
        let both = self.both.f_add_scalar(SMOOTH)?;
        Ok(both.f_div(&both.f_add(&misses)?)?)
    }
}

/// Soft Dice, −mean (2 S(pg) + s) / (S(p) + S(g) + s) over samples and classes, with s = 1e-5 (Milletari et al. 2016; nnU-Net
/// `MemoryEfficientSoftDiceLoss`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dice {
    /// Background counts as a class (labels; of regions all count).
    pub background: bool,
    /// S(p²) instead of S(p) (Milletari et al. 2016).
    pub squared: bool,
    /// log cosh (1 + loss), which is between 0 and 0.43 (Jadon 2020).
    pub log_cosh: bool,
    /// Sums over the batch rather than each sample. Default: the plan's batch_dice.
    pub batch: Option<bool>,
}

impl Criterion for Dice {
    fn fits(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Labels | Kind::Regions)
    }

    fn lowest(&self) -> f64 {
        if self.log_cosh { 0.0 } else { -1.0 }
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let dice = Overlap::of(level, self.background, self.squared, self.batch)?.dice()?;
        let loss = per_class(level, &dice, self.background)?.f_neg()?;
        Ok(if self.log_cosh { loss.f_add_scalar(1.0)?.f_cosh()?.f_log()? } else { loss })
    }
}

/// Generalised Dice, 1 − mean (2 Σ w S(pg) + s) / (Σ w (S(p) + S(g)) + s) over samples; Σ over classes, w = 1 / S(g)², those of classes that
/// do not occur the largest of the others (Sudre et al. 2017; MONAI `GeneralizedDiceLoss`). All w are divided by the largest, since s would
/// otherwise outweigh large structures.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GeneralisedDice {
    /// Background counts as a class (labels; of regions all count).
    pub background: bool,
    /// Sums over the batch rather than each sample. Default: the plan's batch_dice.
    pub batch: Option<bool>,
}

impl Default for GeneralisedDice {
    fn default() -> Self {
        Self { background: true, batch: None }
    }
}

impl Criterion for GeneralisedDice {
    fn fits(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Labels | Kind::Regions)
    }

    fn takes(&self) -> Takes {
        Takes { weight_map: true, ..Takes::default() }
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let Overlap { both, predicted, there } = Overlap::of(level, self.background, false, self.batch)?;
        let weights = there.f_square()?.f_reciprocal()?;
        let occurs = there.f_gt(0.0)?;
        let weights = weights.f_where_self(&occurs, &weights.f_zeros_like()?)?;
        let largest = weights.f_amax([-1_i64].as_slice(), true)?;
        let scaled = weights.f_div(&largest.f_clamp_min(1e-30)?)?;
        let weights = scaled.f_where_self(&occurs, &scaled.f_ones_like()?)?;
        let sum = |x: Tensor| -> Result<Tensor> {
            Ok(x.f_mul(&weights)?.f_sum_dim_intlist([-1_i64].as_slice(), false, x.kind())?.f_add_scalar(SMOOTH)?)
        };
        let dice = sum(both.f_mul_scalar(2.0)?)?.f_div(&sum(predicted.f_add(&there)?)?)?;
        Ok(dice.f_mean(dice.kind())?.f_neg()?.f_add_scalar(1.0)?)
    }
}

/// Tversky, 1 − mean TI over samples and classes, TI = (S(pg) + s) / (S(pg) + α FP + β FN + s), FP = S(p) − S(pg), FN = S(g) − S(pg)
/// (Salehi et al. 2017; MONAI `TverskyLoss`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tversky {
    /// Weight of false positives.
    pub alpha: f64,
    /// Weight of false negatives.
    pub beta: f64,
    /// Background counts as a class (labels; of regions all count).
    pub background: bool,
    /// Sums over the batch rather than each sample. Default: the plan's batch_dice.
    pub batch: Option<bool>,
}

impl Default for Tversky {
    fn default() -> Self {
        Self { alpha: 0.3, beta: 0.7, background: false, batch: None }
    }
}

impl Criterion for Tversky {
    fn fits(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Labels | Kind::Regions)
    }

    fn check(&self) -> Result<()> {
        check_at_least_zero(&[("alpha", self.alpha), ("beta", self.beta)])
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let index = Overlap::of(level, self.background, false, self.batch)?.tversky(self.alpha, self.beta)?;
        complement(&per_class(level, &index, self.background)?)
    }
}

/// Focal Tversky, mean (1 − TI)^γ over samples and classes, TI as in [`Tversky`] (Abraham and Khan 2019, whose γ is the reciprocal: 4/3).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FocalTversky {
    /// Weight of false positives.
    pub alpha: f64,
    /// Weight of false negatives.
    pub beta: f64,
    /// Exponent; below 1 classes that are nearly right weigh more.
    pub gamma: f64,
    /// Background counts as a class (labels; of regions all count).
    pub background: bool,
    /// Sums over the batch rather than each sample. Default: the plan's batch_dice.
    pub batch: Option<bool>,
}

impl Default for FocalTversky {
    fn default() -> Self {
        Self { alpha: 0.3, beta: 0.7, gamma: 0.75, background: false, batch: None }
    }
}

impl Criterion for FocalTversky {
    fn fits(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Labels | Kind::Regions)
    }

    fn check(&self) -> Result<()> {
        check_at_least_zero(&[("alpha", self.alpha), ("beta", self.beta), ("gamma", self.gamma)])
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let index = Overlap::of(level, self.background, false, self.batch)?.tversky(self.alpha, self.beta)?;
        // The gradient of a root is infinite at 0.
        let focal = at_least_tiny(&complement(&index)?)?.f_pow_tensor_scalar(self.gamma)?;
        per_class(level, &focal, self.background)
    }
}

/// Soft Jaccard (intersection over union), 1 − mean (2 S(pg) + s) / (2 (S(p) + S(g) − S(pg)) + s) over samples and classes (Rahman and Wang
/// 2016; MONAI `DiceLoss(jaccard=True)`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Jaccard {
    /// Background counts as a class (labels; of regions all count).
    pub background: bool,
    /// Sums over the batch rather than each sample. Default: the plan's batch_dice.
    pub batch: Option<bool>,
}

impl Criterion for Jaccard {
    fn fits(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Labels | Kind::Regions)
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let Overlap { both, predicted, there } = Overlap::of(level, self.background, false, self.batch)?;
        let union = predicted.f_add(&there)?.f_sub(&both)?;
        let index = both.f_mul_scalar(2.0)?.f_add_scalar(SMOOTH)?.f_div(&union.f_mul_scalar(2.0)?.f_add_scalar(SMOOTH)?)?;
        complement(&per_class(level, &index, self.background)?)
    }
}
