//! Losses for what is thin and connected: vessels, nerves, roots. They look at centre lines.

use super::soft::{Soft, complement, per_class};
use super::{Criterion, Takes};
use crate::task::Kind;
use crate::{Level, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Soft clDice, mean 1 − 2 P R / (P + R) over samples and classes: P is how much of the prediction's soft skeleton lies in the target, R how much
/// of the target's lies in the prediction (Shit et al. 2021; MONAI `SoftclDiceLoss`, which sums over classes). Soft skeletons are
/// made of minima and maxima of neighbouring voxels.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClDice {
    /// Voxels from the surface of the thickest structure to its centre line.
    pub iterations: u32,
    /// Sums over the batch rather than each sample. Default: the plan's batch_dice.
    pub batch: Option<bool>,
}

impl Default for ClDice {
    fn default() -> Self {
        Self { iterations: 3, batch: None }
    }
}

impl Criterion for ClDice {
    fn fits(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Labels | Kind::Regions)
    }

    fn check(&self) -> Result<()> {
        if !(1..=100).contains(&self.iterations) {
            bail!("iterations is {}; expected from 1 to 100", self.iterations);
        }
        Ok(())
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let soft = Soft::of(level, false)?;
        let batch = self.batch.unwrap_or(level.batch_dice);
        let (p, g) = (&soft.probabilities, &soft.counted_target()?);
        let share = |skeleton: &Tensor, of: &Tensor| -> Result<Tensor> {
            let inside = soft.sum(&skeleton.f_mul(of)?, batch)?.f_add_scalar(1.0)?;
            Ok(inside.f_div(&soft.sum(skeleton, batch)?.f_add_scalar(1.0)?)?)
        };
        let precision = share(&soft_skeleton(p, self.iterations)?, g)?;
        let recall = share(&soft_skeleton(g, self.iterations)?, p)?;
        let cldice = precision.f_mul(&recall)?.f_mul_scalar(2.0)?.f_div(&precision.f_add(&recall)?)?;
        complement(&per_class(level, &cldice, false)?)
    }
}

/// Skeleton recall, −mean (S(pt) + s) / (S(t) + s) over samples and classes, s = 1e-5; t is the centre line of the target, two voxels
/// thicker to every side, with the target's labels (Kirchhoff et al. 2024). Needs a target that is derived from the output's by `skeleton`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SkeletonRecall {
    /// Sums over the batch rather than each sample. Default: the plan's batch_dice.
    pub batch: Option<bool>,
}

impl Criterion for SkeletonRecall {
    fn fits(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Labels | Kind::Regions)
    }

    fn takes(&self) -> Takes {
        Takes { skeleton: true, ..Takes::EVERY_WEIGHT }
    }

    fn lowest(&self) -> f64 {
        -1.0
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        const SMOOTH: f64 = 1e-5;
        let Some(skeleton) = &level.skeleton else { bail!("the level has no skeleton") };
        let soft = Soft::of(level, false)?;
        let mut tube = skeleton.f_gt(0)?.f_to_kind(level.logits.kind())?;
        for _ in 0..2 {
            tube = widen_along_axes(&tube)?;
        }
        let tube = soft.target.f_mul(&tube)?;
        let batch = self.batch.unwrap_or(level.batch_dice);
        let found = soft.sum(&soft.probabilities.f_mul(&tube)?, batch)?.f_add_scalar(SMOOTH)?;
        let recall = found.f_div(&soft.sum(&tube, batch)?.f_add_scalar(SMOOTH)?)?;
        Ok(per_class(level, &recall, false)?.f_neg()?)
    }
}

/// Soft skeleton of (B, C, …) with values from 0 to 1 (Shit et al. 2021, algorithm 1).
fn soft_skeleton(x: &Tensor, iterations: u32) -> Result<Tensor> {
    let top = |x: &Tensor| -> Result<Tensor> { Ok(x.f_sub(&largest_around(&erode(x)?)?)?.f_relu()?) };
    let mut skeleton = top(x)?;
    let mut x = x.shallow_clone();
    for _ in 0..iterations {
        x = erode(&x)?;
        let delta = top(&x)?;
        skeleton = skeleton.f_add(&delta.f_sub(&skeleton.f_mul(&delta)?)?.f_relu()?)?;
    }
    Ok(skeleton)
}

/// Minimum over a voxel and its neighbours along the axes.
fn erode(x: &Tensor) -> Result<Tensor> {
    Ok(widen_along_axes(&x.f_neg()?)?.f_neg()?)
}

/// Maximum over a voxel and its neighbours along the axes.
fn widen_along_axes(x: &Tensor) -> Result<Tensor> {
    let axes = x.dim() - 2;
    let along = |axis: usize| largest(x, &(0..axes).map(|other| if other == axis { 3 } else { 1 }).collect::<Vec<_>>());
    (1..axes).try_fold(along(0)?, |most, axis| Ok(most.f_maximum(&along(axis)?)?))
}

/// Maximum over a voxel and all its neighbours.
fn largest_around(x: &Tensor) -> Result<Tensor> {
    largest(x, &vec![3; x.dim() - 2])
}

fn largest(x: &Tensor, window: &[i64]) -> Result<Tensor> {
    let padding: Vec<i64> = window.iter().map(|size| size / 2).collect();
    let one = vec![1; window.len()];
    Ok(match window.len() {
        2 => x.f_max_pool2d(window, &one, &padding, &one, false)?,
        _ => x.f_max_pool3d(window, &one, &padding, &one, false)?,
    })
}
