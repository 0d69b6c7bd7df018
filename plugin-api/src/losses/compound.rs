//! nnU-Net's sums of two losses as one, so that its defaults are one term.

use super::{BinaryCrossEntropy, Criterion, CrossEntropy, Dice, TopK};
use crate::task::Kind;
use crate::{Level, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Cross-entropy + soft Dice without background: nnU-Net's default for labels (`DC_and_CE_loss`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiceCrossEntropy {}

impl Criterion for DiceCrossEntropy {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Labels
    }

    fn lowest(&self) -> f64 {
        -1.0
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        Ok(CrossEntropy::default().compute(level)?.f_add(&Dice::default().compute(level)?)?)
    }
}

/// Binary cross-entropy + soft Dice over all regions: nnU-Net's default for regions (`DC_and_BCE_loss`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiceBinaryCrossEntropy {}

impl Criterion for DiceBinaryCrossEntropy {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Regions
    }

    fn lowest(&self) -> f64 {
        -1.0
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        Ok(BinaryCrossEntropy::default().compute(level)?.f_add(&Dice::default().compute(level)?)?)
    }
}

/// Cross-entropy of the hardest voxels + soft Dice without background (nnU-Net `DC_and_topk_loss`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DiceTopK {
    /// Per cent of the voxels.
    pub k: f64,
}

impl Default for DiceTopK {
    fn default() -> Self {
        Self { k: TopK::default().k }
    }
}

impl DiceTopK {
    fn topk(&self) -> TopK {
        TopK { k: self.k, ..TopK::default() }
    }
}

impl Criterion for DiceTopK {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Labels
    }

    fn lowest(&self) -> f64 {
        -1.0
    }

    fn check(&self) -> Result<()> {
        self.topk().check()
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        Ok(self.topk().compute(level)?.f_add(&Dice::default().compute(level)?)?)
    }
}
