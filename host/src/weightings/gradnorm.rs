//! GradNorm: weights move so that all terms have gradients of similar norm at the last shared layer, larger ones for terms that train more slowly
//! (Chen et al. 2018, algorithm 1).

use super::{Balance, Seen};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Of Adam, as the paper uses it.
const BETAS: [f64; 2] = [0.9, 0.999];
const EPSILON: f64 = 1e-8;
/// Weights do not become less: a term that is off has no gradient to come back by.
const LEAST: f64 = 1e-6;

/// What it goes by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradNorm {
    /// α: how much slower terms are preferred.
    alpha: f64,
    /// Learning rate of the weights.
    rate: f64,
}

/// Weights, and what moves them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    terms: IndexMap<String, Balanced>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Balanced {
    weight: f64,
    given: f64,
    initial_loss: f64,
    /// Adam's.
    mean: f64,
    square: f64,
    steps: i32,
}

impl Balance for GradNorm {
    const NAME: &'static str = "gradnorm";
    const NUMBERS: &'static [(&'static str, f64)] = &[("ALPHA", 1.5), ("RATE", 0.025)];
    const LOOKS_AT_GRADIENTS: bool = true;
    type Memory = Memory;

    fn new(numbers: &[f64]) -> Option<Self> {
        (numbers[1] > 0.0).then_some(Self { alpha: numbers[0], rate: numbers[1] })
    }

    /// 1 before the term's first step.
    fn factor(&self, memory: &Memory, term: &str, given: f64) -> f64 {
        memory.terms.get(term).map_or(1.0, |balanced| balanced.weight / given)
    }

    /// One step of Adam on Σ |G_i − Ḡ (r_i)^α|, G_i = w_i · norm_i, r_i = (L_i / L_i(0)) / its mean, the right side taken as constant; then
    /// all weights are scaled so that they sum up to what was given.
    fn after_step(&self, memory: &mut Memory, seen: &[Seen]) {
        if seen.is_empty() {
            return;
        }
        for term in seen {
            memory.terms.entry(term.name.clone()).or_insert_with(|| Balanced {
                weight: term.given,
                given: term.given,
                initial_loss: term.loss.max(EPSILON),
                mean: 0.0,
                square: 0.0,
                steps: 0,
            });
        }
        let mean = |of: &dyn Fn(&Seen) -> f64| seen.iter().map(of).sum::<f64>() / seen.len() as f64;
        let ratio = |term: &Seen| term.loss / memory.terms[&term.name].initial_loss;
        let (mean_norm, mean_ratio) = (mean(&|term| memory.terms[&term.name].weight * term.norm), mean(&ratio).max(EPSILON));
        let gradients: Vec<f64> = seen
            .iter()
            .map(|term| {
                let target = mean_norm * (ratio(term) / mean_ratio).powf(self.alpha);
                let off = memory.terms[&term.name].weight * term.norm - target;
                if off == 0.0 { 0.0 } else { term.norm * off.signum() }
            })
            .collect();
        for (term, gradient) in seen.iter().zip(gradients) {
            memory.terms[&term.name].step(gradient, self.rate);
        }
        let sum = |of: fn(&Balanced) -> f64| memory.terms.values().map(of).sum::<f64>();
        let scale = sum(|term| term.given) / sum(|term| term.weight);
        memory.terms.values_mut().for_each(|term| term.weight *= scale);
    }
}

impl Balanced {
    fn step(&mut self, gradient: f64, rate: f64) {
        self.steps += 1;
        self.mean = BETAS[0] * self.mean + (1.0 - BETAS[0]) * gradient;
        self.square = BETAS[1] * self.square + (1.0 - BETAS[1]) * gradient * gradient;
        let mean = self.mean / (1.0 - BETAS[0].powi(self.steps));
        let square = self.square / (1.0 - BETAS[1].powi(self.steps));
        self.weight = (self.weight - rate * mean / (square.sqrt() + EPSILON)).max(LEAST);
    }
}
