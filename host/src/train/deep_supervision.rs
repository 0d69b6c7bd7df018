//! How much each level of the decoder counts.

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
}
