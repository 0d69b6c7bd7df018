//! The three ways in which augmentation draws numbers.

use rand::{Rng, RngExt};

/// True with probability `probability`.
pub(super) fn chance(rng: &mut impl Rng, probability: f64) -> bool {
    rng.random::<f64>() < probability
}

/// Uniform in `[low, high)`.
pub(super) fn uniform(rng: &mut impl Rng, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// A factor below one as often as above it: uniform in `[low, 1)` or in `[1, high)`, half of the time each
/// (batchgeneratorsv2 `BGContrast`). A range that does not hold 1 is drawn from uniformly.
pub(super) fn factor(rng: &mut impl Rng, [low, high]: [f64; 2]) -> f64 {
    if low < 1.0 && chance(rng, 0.5) { uniform(rng, [low, high.min(1.0)]) } else { uniform(rng, [low.max(1.0).min(high), high]) }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn factors_lie_on_both_sides_of_one_equally_often() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let factors: Vec<f64> = (0..10_000).map(|_| factor(&mut rng, [0.7, 1.5])).collect();
        assert!(factors.iter().all(|f| (0.7..1.5).contains(f)));
        let below = factors.iter().filter(|f| **f < 1.0).count();
        assert!((4_800..5_200).contains(&below), "{below} of 10000 below one");
    }
}
