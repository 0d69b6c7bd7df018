//! One channel on its way through the transforms of intensities.
//!
//! Transforms that only scale, shift and clip are not carried out at once: they are put together and done in the pass over the
//! channel that some later transform makes anyway, or at the end. What is known of the channel's statistics is kept as long as
//! it can be computed from what was done, so that a transform that needs them seldom makes a pass of its own.

use super::pointwise::{Pointwise, apply};
use super::statistics::{Statistics, apply_and_measure};

/// A channel of a patch, and what is known of it.
pub(in crate::augment) struct Channel<'a> {
    values: &'a mut [f32],
    /// (Z, Y, X).
    pub spatial: [usize; 3],
    /// What is still to be done to the values.
    pending: Pointwise,
    /// Of the values with that done.
    statistics: Option<Statistics>,
}

impl<'a> Channel<'a> {
    pub(super) fn new(values: &'a mut [f32], spatial: [usize; 3]) -> Self {
        Self { values, spatial, pending: Pointwise::default(), statistics: None }
    }

    /// Multiplies by `factor`, then adds `shift`.
    pub(super) fn scale(&mut self, factor: f32, shift: f32) {
        self.pending = self.pending.then_scale(factor, shift);
        self.statistics = self.statistics.map(|statistics| statistics.scaled(factor, shift));
    }

    /// Clips to `low` to `high`.
    pub(super) fn clip(&mut self, low: f32, high: f32) {
        self.pending = self.pending.then_clip(low, high);
        self.statistics = None;
    }

    pub(super) fn statistics(&mut self) -> Statistics {
        let pending = &mut self.pending;
        *self.statistics.get_or_insert_with(|| apply_and_measure(self.values, std::mem::take(pending)))
    }

    /// Replaces the values. `new` gets them with what has to be done to each of them first, and says what it knows of the new ones.
    pub(super) fn replace(&mut self, new: impl FnOnce(&mut [f32], Pointwise) -> Option<Statistics>) {
        self.statistics = new(self.values, std::mem::take(&mut self.pending));
    }

    /// The values with everything done, to be changed.
    pub(super) fn settle(&mut self) -> &mut [f32] {
        if !self.pending.is_identity() {
            apply(self.values, self.pending);
        }
        self.pending = Pointwise::default();
        self.statistics = None;
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_off_is_what_is_done_at_once() {
        let original: Vec<f32> = (0..100).map(|i| ((i * 37) % 101) as f32 / 10.0 - 4.0).collect();
        let mut values = original.clone();
        let mut channel = Channel::new(&mut values, [1, 10, 10]);
        channel.scale(2.0, 1.0);
        channel.clip(-3.0, 5.0);
        channel.scale(-0.5, 0.25);
        channel.clip(-2.0, 9.0);
        let statistics = channel.statistics();
        channel.scale(3.0, -1.0);
        let scaled = channel.statistics();
        channel.settle();
        let by_hand = |v: &f32| ((((v * 2.0 + 1.0).clamp(-3.0, 5.0) * -0.5 + 0.25).clamp(-2.0, 9.0)) * 3.0) - 1.0;
        let expected: Vec<f32> = original.iter().map(by_hand).collect();
        assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{values:?} {expected:?}");
        let mean = expected.iter().sum::<f32>() / 100.0;
        assert!((scaled.mean as f32 - mean).abs() < 1e-4 && (statistics.mean * 3.0 - 1.0 - scaled.mean).abs() < 1e-9);
        assert!(values.iter().copied().fold(f32::INFINITY, f32::min) - scaled.min < 1e-5);
    }
}
