//! Dynamic weight average: terms whose loss falls more slowly weigh more (Liu, Johns and Davison 2019, equation 7).

use super::{Balance, Seen};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// What it goes by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dwa {
    /// T: the larger, the more even.
    temperature: f64,
}

/// Mean losses of two epochs, and the factors that follow from them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Of the epoch so far: sum and number.
    sums: IndexMap<String, (f64, u64)>,
    /// Means of the last epoch.
    last: IndexMap<String, f64>,
    factors: IndexMap<String, f64>,
}

impl Balance for Dwa {
    const NAME: &'static str = "dwa";
    const NUMBERS: &'static [(&'static str, f64)] = &[("TEMPERATURE", 2.0)];
    const LOOKS_AT_GRADIENTS: bool = false;
    type Memory = Memory;

    fn new(numbers: &[f64]) -> Option<Self> {
        (numbers[0] > 0.0).then_some(Self { temperature: numbers[0] })
    }

    /// λ: 1 in the first two epochs.
    fn factor(&self, memory: &Memory, term: &str, _: f64) -> f64 {
        memory.factors.get(term).copied().unwrap_or(1.0)
    }

    fn after_step(&self, memory: &mut Memory, seen: &[Seen]) {
        for term in seen {
            let (sum, count) = memory.sums.entry(term.name.clone()).or_default();
            *sum += term.loss;
            *count += 1;
        }
    }

    /// λ_k = K exp(r_k / T) / Σ_i exp(r_i / T), with r_k the last epoch's mean loss divided by that of the one before; K terms that both had.
    fn after_epoch(&self, memory: &mut Memory) {
        let means: IndexMap<String, f64> = memory.sums.drain(..).map(|(term, (sum, count))| (term, sum / count as f64)).collect();
        let speed = |(term, mean): (&String, &f64)| {
            let before = memory.last.get(term)?;
            // A loss of nothing has nowhere to fall.
            Some((term.clone(), if *before > 0.0 { mean / before } else { 1.0 }))
        };
        let ratios: IndexMap<String, f64> = means.iter().filter_map(speed).collect();
        // Less the largest, which changes nothing but that nothing overflows.
        let largest = ratios.values().copied().fold(f64::NEG_INFINITY, f64::max);
        let speeds: IndexMap<String, f64> =
            ratios.into_iter().map(|(term, ratio)| (term, ((ratio - largest) / self.temperature).exp())).collect();
        let mean = speeds.values().sum::<f64>() / speeds.len() as f64;
        memory.factors = speeds.into_iter().map(|(term, speed)| (term, speed / mean)).collect();
        memory.last = means;
    }
}
