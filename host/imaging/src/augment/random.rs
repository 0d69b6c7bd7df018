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
    let range = match (low < 1.0, high > 1.0) {
        (true, true) if chance(rng, 0.5) => [low, 1.0],
        (true, true) => [1.0, high],
        _ => [low, high],
    };
    uniform(rng, range)
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

    #[test]
    fn ranges_on_one_side_of_one_are_drawn_from_evenly() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for [low, high] in [[0.5, 0.9], [0.5, 1.0], [1.0, 1.5], [1.2, 1.5], [0.8, 0.8]] {
            let factors: Vec<f64> = (0..10_000).map(|_| factor(&mut rng, [low, high])).collect();
            assert!(factors.iter().all(|f| (low..=high).contains(f)));
            let below = factors.iter().filter(|f| **f < (low + high) / 2.0).count();
            assert!((4_800..5_200).contains(&below) || low == high, "{below} of 10000 in the lower half of {low} to {high}");
        }
    }
}
