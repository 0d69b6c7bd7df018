//! Dynamic weight average: terms whose loss falls more slowly weigh more (Liu, Johns and Davison 2019, equation 7).

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Mean losses of two epochs, and the factors that follow from them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dwa {
    /// Of the epoch so far: sum and number.
    sums: IndexMap<String, (f64, u64)>,
    /// Means of the last epoch.
    last: IndexMap<String, f64>,
    factors: IndexMap<String, f64>,
}

impl Dwa {
    /// λ: 1 in the first two epochs.
    pub fn factor(&self, term: &str) -> f64 {
        self.factors.get(term).copied().unwrap_or(1.0)
    }

    /// Adds the loss of one step.
    pub fn add(&mut self, term: &str, loss: f64) {
        let (sum, count) = self.sums.entry(term.to_owned()).or_default();
        *sum += loss;
        *count += 1;
    }

    /// λ_k = K exp(r_k / T) / Σ_i exp(r_i / T), with r_k the last epoch's mean loss divided by that of the one before; K terms that both had.
    pub fn finish_epoch(&mut self, temperature: f64) {
        let means: IndexMap<String, f64> = self.sums.drain(..).map(|(term, (sum, count))| (term, sum / count as f64)).collect();
        let speed = |(term, mean): (&String, &f64)| {
            let before = self.last.get(term)?;
            // A loss of nothing has nowhere to fall.
            Some((term.clone(), if *before > 0.0 { mean / before } else { 1.0 }))
        };
        let ratios: IndexMap<String, f64> = means.iter().filter_map(speed).collect();
        // Less the largest, which changes nothing but that nothing overflows.
        let largest = ratios.values().copied().fold(f64::NEG_INFINITY, f64::max);
        let speeds: IndexMap<String, f64> =
            ratios.into_iter().map(|(term, ratio)| (term, ((ratio - largest) / temperature).exp())).collect();
        let mean = speeds.values().sum::<f64>() / speeds.len() as f64;
        self.factors = speeds.into_iter().map(|(term, speed)| (term, speed / mean)).collect();
        self.last = means;
    }
}
