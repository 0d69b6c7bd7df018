//! Changes of every value on its own, several put together into one.

use crate::multiversion::multiversion;

/// A change of every value on its own: `value * factor + shift`, clipped to `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pointwise {
    factor: f32,
    shift: f32,
    low: f32,
    high: f32,
}

impl Default for Pointwise {
    fn default() -> Self {
        Self { factor: 1.0, shift: 0.0, low: f32::NEG_INFINITY, high: f32::INFINITY }
    }
}

impl Pointwise {
    pub(super) fn is_identity(&self) -> bool {
        *self == Self::default()
    }

    /// NaN stays NaN.
    #[inline(always)]
    pub(super) fn at(&self, value: f32) -> f32 {
        let value = value * self.factor + self.shift;
        let value = if value < self.low { self.low } else { value };
        if value > self.high { self.high } else { value }
    }

    pub(super) fn then_scale(&self, factor: f32, shift: f32) -> Self {
        let (a, b) = (self.low * factor + shift, self.high * factor + shift);
        // An infinite bound times zero is no number, and no bound.
        let (low, high) = if a.is_nan() || b.is_nan() { (f32::NEG_INFINITY, f32::INFINITY) } else { (a.min(b), a.max(b)) };
        Self { factor: self.factor * factor, shift: self.shift * factor + shift, low, high }
    }

    pub(super) fn then_clip(&self, low: f32, high: f32) -> Self {
        let bound = |value: f32| value.max(low).min(high);
        Self { low: bound(self.low), high: bound(self.high), ..*self }
    }
}

multiversion! {
    /// Changes all values.
    pub(super) fn apply(values: &mut [f32], pointwise: Pointwise) {
        for value in values {
            *value = pointwise.at(*value);
        }
    }
}
