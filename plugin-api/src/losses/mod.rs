#![doc = include_str!("../../losses.md")]

#[macro_use]
mod list;
mod compound;
mod distance;
mod lovasz;
mod overlap;
mod regression;
mod skeleton;
mod soft;
mod voxelwise;

use crate::task::Kind;
use crate::{Level, Result, bail};
use tch::Tensor;

pub use list::{LossList, LossTerm};

// All losses. Another one is its line here and its code, in a file with others of its kind or in one of its own.
losses! {
    "dice_ce" DiceCe(compound::DiceCrossEntropy),
    "dice_bce" DiceBce(compound::DiceBinaryCrossEntropy),
    "dice_topk" DiceTopK(compound::DiceTopK),
    "dice" Dice(overlap::Dice),
    "generalised_dice" GeneralisedDice(overlap::GeneralisedDice),
    "tversky" Tversky(overlap::Tversky),
    "focal_tversky" FocalTversky(overlap::FocalTversky),
    "jaccard" Jaccard(overlap::Jaccard),
    "lovasz" Lovasz(lovasz::Lovasz),
    "ce" Ce(voxelwise::CrossEntropy),
    "topk" TopK(voxelwise::TopK),
    "bce" Bce(voxelwise::BinaryCrossEntropy),
    "focal" Focal(voxelwise::Focal),
    "boundary" Boundary(distance::Boundary),
    "hausdorff" Hausdorff(distance::Hausdorff),
    "cldice" ClDice(skeleton::ClDice),
    "skeleton_recall" SkeletonRecall(skeleton::SkeletonRecall),
    "mse" Mse(regression::Mse),
    "l1" L1(regression::L1),
    "huber" Huber(regression::Huber),
    "cosine" Cosine(regression::Cosine),
    "class_ce" ClassCe(voxelwise::ClassCrossEntropy),
}

/// A loss: one [`Level`] in, a scalar out.
pub trait Criterion {
    /// Whether it can be computed for an output of this kind.
    fn fits(&self, kind: Kind) -> bool;

    /// What of a level it takes into account, beyond logits, target and mask: weights of classes and of voxels, unless it says otherwise.
    fn takes(&self) -> Takes {
        Takes::EVERY_WEIGHT
    }

    /// The least that it can be.
    fn lowest(&self) -> f64 {
        0.0
    }

    /// Refuses settings that cannot be.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// The loss, a scalar of the logits' type with their graph; finite for finite logits.
    fn compute(&self, level: &Level) -> Result<Tensor>;
}

/// What a loss can take into account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// How much every class counts.
    pub class_weights: bool,
    /// How much every voxel counts.
    pub weight_map: bool,
    /// Centre lines, which it then needs.
    pub skeleton: bool,
}

impl Takes {
    /// Weights of classes and of voxels.
    pub const EVERY_WEIGHT: Self = Self { class_weights: true, weight_map: true, skeleton: false };
}

/// Σ weightᵢ · loss(level i) over the finest `levels` levels: deep supervision. Levels of weight 0 are not evaluated. An output with fewer levels than have
/// a weight counts as much as one with all of them: its weights are multiplied by the sum of all over the sum of its own. `None` when `loss` had nothing
/// to compare.
pub fn deep_supervision(weights: &[f64], levels: usize, mut loss: impl FnMut(usize) -> Result<Option<Tensor>>) -> Result<Option<Tensor>> {
    if weights.len() < levels {
        bail!("{levels} levels of deep supervision, but {} weights", weights.len());
    }
    let (own, missing) = weights.split_at(levels);
    let factor = if missing.iter().all(|weight| *weight == 0.0) { 1.0 } else { weights.iter().sum::<f64>() / own.iter().sum::<f64>() };
    let mut total: Option<Tensor> = None;
    for (level, weight) in own.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
        let Some(value) = loss(level)? else { continue };
        let value = value.f_mul_scalar(*weight * factor)?;
        total = Some(match total {
            Some(total) => total.f_add(&value)?,
            None => value,
        });
    }
    Ok(total)
}

fn check_at_least_zero(settings: &[(&str, f64)]) -> Result<()> {
    match settings.iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
        Some((name, value)) => bail!("{name} is {value}; expected a number of at least 0"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind::Float};

    /// Σ weight · 0.1 over the first `levels` levels.
    fn sum(weights: &[f64], levels: usize) -> f64 {
        let tenth = |_| Ok(Some(Tensor::full([], 0.1, (Float, Device::Cpu))));
        deep_supervision(weights, levels, tenth).unwrap().unwrap().double_value(&[])
    }

    #[test]
    fn fewer_levels_count_as_much_as_all() {
        let weights = [4.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0, 0.0];
        for levels in 1..=4 {
            assert!((sum(&weights, levels) - 0.1).abs() < 1e-7, "{levels} levels");
        }
        // Where what is missing weighs nothing, to the bit what it was.
        assert_eq!(sum(&weights, 3), sum(&weights[..3], 3));
        // A trainer's own scale stays.
        assert!((sum(&[2.0, 2.0], 1) - 0.4).abs() < 1e-7);
        let nothing = deep_supervision(&[0.0, 1.0], 1, |_| panic!("weighs nothing"));
        assert!(nothing.unwrap().is_none());
    }
}
