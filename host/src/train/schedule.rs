//! Learning rate and deep-supervision weights.

/// nnU-Net's polynomial decay: `initial · (1 − epoch / epochs)^0.9` (`training/lr_scheduler/polylr.py`), constant within an epoch.
pub fn poly(initial: f64, epoch: u64, epochs: u64) -> f64 {
    initial * (1.0 - epoch as f64 / epochs as f64).powf(0.9)
}

/// Weights of the decoder's levels, finest first: 1/2ⁱ, the coarsest 0 where there are several, of sum 1
/// (`nnUNetTrainer._build_loss`).
pub fn deep_supervision_weights(levels: usize) -> Vec<f64> {
    let mut weights: Vec<f64> = (0..levels).map(|level| 0.5f64.powi(level as i32)).collect();
    if let Some(last) = weights.last_mut().filter(|_| levels > 1) {
        *last = 0.0;
    }
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_of_three_levels() {
        assert_eq!(deep_supervision_weights(3), [2.0 / 3.0, 1.0 / 3.0, 0.0]);
        assert_eq!(deep_supervision_weights(1), [1.0]);
    }

    #[test]
    fn the_rate_falls_to_zero() {
        assert_eq!(poly(0.01, 0, 1000), 0.01);
        assert!((poly(0.01, 500, 1000) - 0.01 * 0.5f64.powf(0.9)).abs() < 1e-15);
        assert_eq!(poly(0.01, 1000, 1000), 0.0);
    }
}
