//! The factor of the loss in float16, where small gradients would vanish (torch's `GradScaler`, with its constants).

use serde::{Deserialize, Serialize};

const INITIAL: f64 = 65_536.0;
const GROWTH: f64 = 2.0;
const BACKOFF: f64 = 0.5;
/// Steps without overflow after which the factor grows.
const GROWTH_INTERVAL: u32 = 2000;

/// The factor, and how long it has been good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    factor: f64,
    good_steps: u32,
}

impl Default for LossScale {
    fn default() -> Self {
        Self { factor: INITIAL, good_steps: 0 }
    }
}

impl LossScale {
    /// The factor.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// All gradients were finite.
    pub fn succeeded(&mut self) {
        self.good_steps += 1;
        if self.good_steps == GROWTH_INTERVAL {
            *self = Self { factor: self.factor * GROWTH, good_steps: 0 };
        }
    }

    /// A gradient overflowed. False when the factor is not to blame any more.
    pub fn overflowed(&mut self) -> bool {
        *self = Self { factor: self.factor * BACKOFF, good_steps: 0 };
        self.factor >= 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_at_once_and_doubles_slowly() {
        let mut scale = LossScale::default();
        assert!(scale.overflowed());
        assert_eq!(scale.factor(), 32_768.0);
        (0..2000).for_each(|_| scale.succeeded());
        assert_eq!(scale.factor(), 65_536.0);
        assert!((0..16).all(|_| scale.overflowed()) && !scale.overflowed());
    }
}
