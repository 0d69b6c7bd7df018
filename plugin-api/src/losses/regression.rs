//! Losses for real-valued maps. `level.target`: f32 (B, C, …), the shape of the logits.

use super::masked_mean;
use crate::{Level, Result};
use tch::{Reduction, Tensor};

/// Mean squared error where the mask is true.
pub fn mse(level: &Level) -> Result<Tensor> {
    masked_mean(&level.logits.f_mse_loss(&level.target, Reduction::None)?, level.mask.as_ref())
}

/// Mean absolute error where the mask is true.
pub fn l1(level: &Level) -> Result<Tensor> {
    masked_mean(&level.logits.f_l1_loss(&level.target, Reduction::None)?, level.mask.as_ref())
}

/// Mean Huber loss where the mask is true: quadratic below `delta`, linear above.
pub fn huber(level: &Level, delta: f64) -> Result<Tensor> {
    masked_mean(&level.logits.f_huber_loss(&level.target, Reduction::None, delta)?, level.mask.as_ref())
}
