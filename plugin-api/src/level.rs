//! One level of one output beside its target: what losses and metrics are computed on.

use crate::task::{Kind, Target as TargetSpec};
use crate::tensors::Target;
use crate::{Result, bail};
use tch::{Kind as Dtype, Tensor};

/// One level of one output beside its target, with all that a loss may take into account: what [`losses`](crate::losses) are computed on.
#[derive(Debug)]
pub struct Level {
    /// What the output is: decides between softmax and sigmoid.
    pub kind: Kind,
    /// Network output (B, C, …) in f32.
    pub logits: Tensor,
    /// The target's level: labels i64 (B, 1, …), regions bool (B, C, …), regression f32 (B, C, …), class i64 (B,).
    pub target: Tensor,
    /// Bool (B, 1, …), true where the loss is computed; `None` for everywhere.
    pub mask: Option<Tensor>,
    /// How much every voxel counts (B, 1, …), at least 0; `None` where all count the same.
    pub weight_map: Option<Tensor>,
    /// How much every class counts (C,), background among them; `None` where all count the same.
    pub class_weights: Option<Tensor>,
    /// Centre lines of the foreground, i64 (B, 1, …), where the loss asks for them.
    pub skeleton: Option<Tensor>,
    /// Voxel spacing of this level in mm, `([z,] y, x)`; empty where it is not known, and losses of distances are errors.
    pub spacing: Vec<f64>,
    /// Overlaps are those of the whole batch rather than of each sample, unless the loss says otherwise (the plan's `batch_dice`).
    pub batch_dice: bool,
    /// Which cases of the batch these are; `None` for all.
    cases: Option<Tensor>,
}

impl Level {
    /// `logits` beside `target`, everything else as if there were nothing to say.
    pub fn plain(kind: Kind, logits: Tensor, target: Tensor) -> Self {
        let (mask, weight_map, class_weights, skeleton) = (None, None, None, None);
        Self { kind, logits, target, mask, weight_map, class_weights, skeleton, spacing: Vec::new(), batch_dice: false, cases: None }
    }

    /// Level `level` of `target` beside `logits`; `None` when no case of the batch has the target.
    ///
    /// Cases without the target are taken out, so that means are over what is present. The ignore label of `spec` and the
    /// validity mask become one mask; labels under it are replaced by 0, and the ignore channel of regions is taken off.
    pub fn new(logits: &Tensor, target: &Target, spec: &TargetSpec, level: usize) -> Result<Option<Self>> {
        let cases = match spec.optional {
            true => Some(target.presence.f_nonzero()?.f_squeeze_dim(1)?),
            false => None,
        };
        if cases.as_ref().is_some_and(|cases| cases.numel() == 0) {
            return Ok(None);
        }
        let select = |tensor: &Tensor| select(tensor, cases.as_ref());
        let mut values = select(at_level(&target.levels, level)?)?;
        let valid = target.valid.get(level).map(select).transpose()?;
        let annotated = match (spec.kind, spec.ignore) {
            (Kind::Labels, Some(ignore)) => {
                let mask = values.f_ne(ignore)?;
                values = values.f_where_self(&mask, &values.f_zeros_like()?)?;
                Some(mask)
            }
            (Kind::Regions, Some(_)) => {
                let regions = values.size()[1] - 1;
                let mask = values.f_narrow(1, regions, 1)?.f_logical_not()?;
                values = values.f_narrow(1, 0, regions)?;
                Some(mask)
            }
            _ => None,
        };
        let mask = match (annotated, valid) {
            (Some(a), Some(b)) => Some(a.f_logical_and(&b)?),
            (a, b) => a.or(b),
        };
        let logits = select(logits)?;
        Ok(Some(Self { mask, cases, ..Self::plain(spec.kind, logits, values) }))
    }

    /// Lets every voxel count as `map`, a target of the same batch, says at level `level`. Cases without a map count fully; what the map says
    /// nothing of counts for nothing.
    pub fn weigh(&mut self, map: &Target, level: usize) -> Result<()> {
        let mut weights = select(at_level(&map.levels, level)?, self.cases.as_ref())?.f_clamp_min(0.0)?;
        if let Some(valid) = map.valid.get(level) {
            let valid = select(valid, self.cases.as_ref())?;
            weights = weights.f_where_self(&valid, &weights.f_zeros_like()?)?;
        }
        let mut shape = vec![1; weights.dim()];
        shape[0] = -1;
        let has_map = select(&map.presence, self.cases.as_ref())?.f_view(shape.as_slice())?;
        self.weight_map = Some(weights.f_where_self(&has_map, &weights.f_ones_like()?)?);
        Ok(())
    }

    /// Takes the centre lines from `skeleton`, a target of the same batch.
    pub fn follow(&mut self, skeleton: &Target, level: usize) -> Result<()> {
        self.skeleton = Some(select(at_level(&skeleton.levels, level)?, self.cases.as_ref())?);
        Ok(())
    }

    /// Samples that it consists of.
    pub fn samples(&self) -> u64 {
        self.logits.size()[0].unsigned_abs()
    }

    /// How much every voxel counts, mask and weight map together: (B, 1, …) of type `kind`, `None` where all count the same.
    pub fn weights(&self, kind: Dtype) -> Result<Option<Tensor>> {
        Ok(match (&self.mask, &self.weight_map) {
            (None, None) => None,
            (Some(mask), None) => Some(mask.f_to_kind(kind)?),
            (None, Some(map)) => Some(map.f_to_kind(kind)?),
            (Some(mask), Some(map)) => Some(map.f_to_kind(kind)?.f_mul(mask)?),
        })
    }

    /// Mean of `values` (B, C, …) over all voxels and channels, each counting as [`weights`](Level::weights) says; 0 where none counts.
    pub fn mean(&self, values: &Tensor) -> Result<Tensor> {
        match self.weights(values.kind())? {
            None => Ok(values.f_mean(values.kind())?),
            Some(weights) => {
                let weights = weights.f_expand_as(values)?;
                weighted_sum(values, &weights)?.f_div(&at_least_tiny(&weights.f_sum(values.kind())?)?).map_err(Into::into)
            }
        }
    }
}

/// Σ `weights` · `values`; where a weight is 0, a value may be anything.
pub(crate) fn weighted_sum(values: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let counted = values.f_mul(weights)?.f_where_self(&weights.f_gt(0.0)?, &values.f_zeros_like()?)?;
    Ok(counted.f_sum(values.kind())?)
}

/// A divisor that may be 0 where there is nothing to divide.
pub(crate) fn at_least_tiny(sum: &Tensor) -> Result<Tensor> {
    Ok(sum.f_clamp_min(1e-8)?)
}

fn at_level(levels: &[Tensor], level: usize) -> Result<&Tensor> {
    match levels.get(level) {
        Some(tensor) => Ok(tensor),
        None => bail!("level {level} of a target with {} levels", levels.len()),
    }
}

fn select(tensor: &Tensor, cases: Option<&Tensor>) -> Result<Tensor> {
    Ok(match cases {
        Some(cases) => tensor.f_index_select(0, cases)?,
        None => tensor.shallow_clone(),
    })
}
