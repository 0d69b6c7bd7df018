//! Mean, spread and range of a channel.

use super::pointwise::Pointwise;
use crate::augment::math::power;
use crate::multiversion::multiversion;

/// Of all values of a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Statistics {
    pub mean: f64,
    /// With Bessel's correction, as `torch.Tensor.std`.
    pub std: f64,
    pub min: f32,
    pub max: f32,
}

impl Statistics {
    /// Those of the values times `factor` plus `shift`.
    pub(super) fn scaled(&self, factor: f32, shift: f32) -> Self {
        let (a, b) = (self.min * factor + shift, self.max * factor + shift);
        let (wide, offset) = (f64::from(factor), f64::from(shift));
        Self { mean: self.mean * wide + offset, std: self.std * wide.abs(), min: a.min(b), max: a.max(b) }
    }
}

multiversion! {
    /// Changes all values and measures what they have become, in one pass.
    pub(super) fn apply_and_measure(values: &mut [f32], pointwise: Pointwise) -> Statistics {
        replace_and_measure(values, |value| pointwise.at(value))
    }
}

multiversion! {
    /// Raises what `pointwise` makes of all values, which lies between 0 and 1, to a power and measures what comes out, in one pass.
    pub(super) fn raise_and_measure(values: &mut [f32], pointwise: Pointwise, exponent: f32) -> Statistics {
        replace_and_measure(values, |value| power(pointwise.at(value), exponent))
    }
}

/// Sums in f32, of as few values that nothing is lost, are added up in f64; so is what lies beyond `pivot`, a value like all others, and
/// not the values themselves. Several sums side by side let the compiler use vector instructions.
#[inline(always)]
fn replace_and_measure(values: &mut [f32], new: impl Fn(f32) -> f32) -> Statistics {
    const LANES: usize = 16;
    const BLOCK: usize = 64 * LANES;
    let count = values.len();
    let pivot = values.first().map_or(0.0, |value| new(*value));
    let (mut sum, mut squares) = (0.0_f64, 0.0_f64);
    let (mut min, mut max) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    for block in values.chunks_mut(BLOCK) {
        let (mut sums, mut of_squares) = ([0.0_f32; LANES], [0.0_f32; LANES]);
        let mut add = |lane: usize, value: &mut f32| {
            *value = new(*value);
            let beyond = *value - pivot;
            sums[lane] += beyond;
            of_squares[lane] += beyond * beyond;
            min[lane] = if *value < min[lane] { *value } else { min[lane] };
            max[lane] = if *value > max[lane] { *value } else { max[lane] };
        };
        let (chunks, rest) = block.as_chunks_mut::<LANES>();
        for chunk in chunks {
            for (lane, value) in chunk.iter_mut().enumerate() {
                add(lane, value);
            }
        }
        for (lane, value) in rest.iter_mut().enumerate() {
            add(lane, value);
        }
        for lane in 0..LANES {
            sum += f64::from(sums[lane]);
            squares += f64::from(of_squares[lane]);
        }
    }
    let n = count.max(1) as f64;
    let variance = (squares - sum * sum / n) / (n - 1.0).max(1.0);
    Statistics {
        mean: f64::from(pivot) + sum / n,
        std: variance.max(0.0).sqrt(),
        min: min.into_iter().fold(f32::INFINITY, f32::min),
        max: max.into_iter().fold(f32::NEG_INFINITY, f32::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_a_few_values() {
        let mut values: Vec<f32> = (1..=21).map(|i| i as f32).collect();
        let statistics = apply_and_measure(&mut values, Pointwise::default());
        assert_eq!((statistics.mean, statistics.min, statistics.max), (11.0, 1.0, 21.0));
        assert!((statistics.std - 38.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(apply_and_measure(&mut [4.0; 9], Pointwise::default()).std, 0.0);
        let mirrored = statistics.scaled(-2.0, 1.0);
        assert_eq!((mirrored.mean, mirrored.min, mirrored.max, mirrored.std), (-21.0, -41.0, -1.0, 2.0 * statistics.std));
    }
}
