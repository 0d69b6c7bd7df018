//! Losses for real-valued maps. `level.target`: (B, C, …), the shape of the logits.

use super::{Criterion, Takes};
use crate::task::Kind;
use crate::{Level, Result, bail};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Reduction, Tensor};

/// Mean squared error (torch `MSELoss`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mse {}

impl Criterion for Mse {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Regression
    }

    fn takes(&self) -> Takes {
        Takes { weight_map: true, ..Takes::default() }
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        level.mean(&level.logits.f_mse_loss(&level.target, Reduction::None)?)
    }
}

/// Mean absolute error (torch `L1Loss`).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct L1 {}

impl Criterion for L1 {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Regression
    }

    fn takes(&self) -> Takes {
        Takes { weight_map: true, ..Takes::default() }
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        level.mean(&level.logits.f_l1_loss(&level.target, Reduction::None)?)
    }
}

/// Huber loss: quadratic for errors below delta, linear above (torch `HuberLoss`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Huber {
    /// Where it becomes linear.
    pub delta: f64,
}

impl Default for Huber {
    fn default() -> Self {
        Self { delta: 1.0 }
    }
}

impl Criterion for Huber {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Regression
    }

    fn takes(&self) -> Takes {
        Takes { weight_map: true, ..Takes::default() }
    }

    fn check(&self) -> Result<()> {
        if !(self.delta.is_finite() && self.delta > 0.0) {
            bail!("delta is {}; expected a number above 0", self.delta);
        }
        Ok(())
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        level.mean(&level.logits.f_huber_loss(&level.target, Reduction::None, self.delta)?)
    }
}

/// Mean of 1 − cosine of the angle between prediction and target, both vectors of the channels (torch `cosine_similarity`). Voxels whose
/// target is the zero vector have no direction, and count as a right angle without a gradient.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cosine {}

impl Criterion for Cosine {
    fn fits(&self, kind: Kind) -> bool {
        kind == Kind::Regression
    }

    fn takes(&self) -> Takes {
        Takes { weight_map: true, ..Takes::default() }
    }

    fn compute(&self, level: &Level) -> Result<Tensor> {
        let cosine = Tensor::f_cosine_similarity(&level.logits, &level.target, 1, 1e-8)?;
        level.mean(&cosine.f_neg()?.f_add_scalar(1.0)?.f_unsqueeze(1)?)
    }
}
