//! Image-level classes.

use crate::{Level, Result};
use tch::{Reduction, Tensor};

/// Mean cross-entropy of one class a sample: logits (B, C), `level.target` i64 (B,).
pub fn class_cross_entropy(level: &Level) -> Result<Tensor> {
    Ok(level.logits.f_cross_entropy_loss::<Tensor>(&level.target, None, Reduction::Mean, -1, 0.0)?)
}
