//! Losses that know how far from a border a voxel lies.

use super::soft::{Soft, per_class};
use super::{Criterion, check_at_least_zero};
use crate::task::Kind;
use crate::{Level, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind as Dtype, Tensor};

/// Squared distance of a voxel that nothing is near to.
const NOWHERE: f64 = 1e12;
/// Numbers that one part of [`distance_squared`] works on: few enough for a CPU's cache, many enough for a GPU.
const PART: i64 = 1 << 20;

/// Boundary loss, mean p·φ over samples, classes and voxels; φ is the signed distance to the class's border in mm: outside that to its nearest
/// voxel, inside minus that to the nearest voxel of something else, plus one voxel (Kervadec et al. 2019 and their code). 0 for a class that is
/// nowhere or everywhere. It has no lower bound, and trains nothing by itself at first: add it to Dice or cross-entropy, best with a
/// rising weight.
///
/// Distances are those within the patch, and know nothing of ignored voxels. All voxels of a line are tried: the cost is that of voxels × edge.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Boundary {}

impl Criterion for Boundary {
    fn fits(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Labels | Kind::Regions)
    }

    fn lowest(&self) -> f64 {
        f64::NEG_INFINITY
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let soft = Soft::of(level, false)?;
        let spacing = spacing(level)?;
        let unit = spacing.iter().copied().fold(f64::INFINITY, f64::min);
        let inside = soft.counted_target()?.f_gt(0.5)?;
        let kind = soft.probabilities.kind();
        let outer = distance(&inside, spacing, kind)?;
        let inner = distance(&inside.f_logical_not()?, spacing, kind)?.f_add_scalar(-unit)?.f_neg()?;
        let signed = inner.f_where_self(&inside, &outer)?;
        let signed = signed.f_where_self(&has_both(&inside)?, &signed.f_zeros_like()?)?;
        per_class(level, &soft.mean(&soft.probabilities.f_mul(&signed)?)?, false)
    }
}

/// Hausdorff distance by distance transforms, mean (p − g)² (d_p^α + d_g^α) over samples, classes and voxels; d is the distance to the border
/// of p > 0.5, and of g, in mm, 0 where there is none (Karimi and Salcudean 2019; MONAI `HausdorffDTLoss`).
///
/// Distances are those within the patch, and know nothing of ignored voxels; their gradient is left out. The cost is that of voxels × edge.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hausdorff {
    /// How much more errors count far from the border: 0 to 8.
    pub alpha: f64,
}

impl Default for Hausdorff {
    fn default() -> Self {
        Self { alpha: 2.0 }
    }
}

impl Criterion for Hausdorff {
    fn fits(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Labels | Kind::Regions)
    }

    fn check(&self) -> Result<()> {
        check_at_least_zero(&[("alpha", self.alpha)])?;
        // The power of a metre is still a number of 32 bits.
        const HIGHEST: f64 = 8.0;
        if self.alpha > HIGHEST {
            bail!("alpha is {}; expected at most {HIGHEST}: larger powers of a distance are beyond 32 bits", self.alpha);
        }
        Ok(())
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let soft = Soft::of(level, false)?;
        let spacing = spacing(level)?;
        let field = |x: &Tensor| -> Result<Tensor> {
            let inside = x.f_gt(0.5)?;
            let both = distance(&inside, spacing, x.kind())?.f_add(&distance(&inside.f_logical_not()?, spacing, x.kind())?)?;
            let both = both.f_where_self(&has_both(&inside)?, &both.f_zeros_like()?)?;
            Ok(both.f_pow_tensor_scalar(self.alpha)?)
        };
        let weight = field(&soft.probabilities.detach())?.f_add(&field(&soft.counted_target()?)?)?;
        per_class(level, &soft.mean(&soft.probabilities.f_sub(&soft.target)?.f_square()?.f_mul(&weight)?)?, false)
    }
}

/// Distances in voxels instead of mm would be wrong where slices are thick, and nobody would notice.
fn spacing(level: &Level) -> Result<&[f64]> {
    let axes = level.logits.dim() - 2;
    if level.spacing.len() != axes {
        let found = level.spacing.len();
        bail!(
            "distances need the spacing of {axes} axes, but the level has that of {found}; take the level from Base::level or Base::supervise, or set its spacing"
        );
    }
    Ok(&level.spacing)
}

/// (B, C, 1, …): whether a class has voxels, and does not have all.
fn has_both(inside: &Tensor) -> Result<Tensor> {
    let voxels: Vec<i64> = (2..inside.dim() as i64).collect();
    Ok(inside.f_amax(voxels.as_slice(), true)?.f_logical_and(&inside.f_amin(voxels.as_slice(), true)?.f_logical_not()?)?)
}

/// Distance of every voxel of `inside` (B, C, …) to the nearest one that is true, in the unit of `spacing`; meaningless where none is.
fn distance(inside: &Tensor, spacing: &[f64], kind: Dtype) -> Result<Tensor> {
    let _no_graph = tch::no_grad_guard();
    let mut squared = inside.f_zeros_like()?.f_to_kind(kind)?.f_masked_fill(&inside.f_logical_not()?, NOWHERE)?;
    for (axis, step) in spacing.iter().enumerate() {
        squared = nearer_along(&squared, axis as i64 + 2, *step)?;
    }
    Ok(squared.f_sqrt()?)
}

/// min over j of `squared`(j) + (step (i − j))², along `axis`: one axis of an exact Euclidean distance transform (Felzenszwalb and
/// Huttenlocher 2012), by trying all j, which suits patches, and every device.
fn nearer_along(squared: &Tensor, axis: i64, step: f64) -> Result<Tensor> {
    let lines = squared.f_transpose(axis, -1)?.f_contiguous()?;
    let shape = lines.size();
    let length = shape[shape.len() - 1];
    let place = Tensor::f_arange(length, (squared.kind(), squared.device()))?.f_mul_scalar(step)?;
    let cost = place.f_unsqueeze(0)?.f_sub(&place.f_unsqueeze(1)?)?.f_square()?;
    let lines = lines.f_view([-1, 1, length])?;
    let parts: Vec<Tensor> = lines
        .f_split((PART / (length * length)).max(1), 0)?
        .iter()
        .map(|part| part.f_add(&cost)?.f_amin([-1_i64].as_slice(), false))
        .collect::<std::result::Result<_, _>>()?;
    Ok(Tensor::f_cat(&parts, 0)?.f_view(shape.as_slice())?.f_transpose(axis, -1)?)
}
