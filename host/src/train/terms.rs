//! Loss terms: the host's sum Σ weight · value, and their means over an epoch.

use super::StepError;
use crate::report::TermMean;
use indexmap::IndexMap;
use plugin_api::{Term, Weight};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Σ weight · value of the terms that train something, those of weight 0 left out. `None` when nothing is left, e.g. when no case of
/// a batch has any target.
///
/// # Errors
/// A term with a weight but without a graph: it would train nothing, and nobody would notice.
pub fn total(terms: &[Term]) -> Result<Option<Tensor>, StepError> {
    let mut total: Option<Tensor> = None;
    for term in terms {
        let weighted = match &term.weight {
            Weight::Number(weight) if *weight == 0.0 => continue,
            // A factor of 1 is left away, so that a single term trains exactly as it would alone.
            Weight::Number(weight) if *weight == 1.0 => term.value.shallow_clone(),
            Weight::Number(weight) => term.value.f_mul_scalar(*weight)?,
            Weight::Learned(weight) => term.value.f_mul(weight)?,
        };
        if !weighted.requires_grad() {
            return Err(StepError::NoGradient(term.name.clone()));
        }
        total = Some(match total {
            Some(total) => total.f_add(&weighted)?,
            None => weighted,
        });
    }
    Ok(total)
}

/// Sums of every term over the iterations of an epoch, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TermSums {
    terms: IndexMap<String, Sum>,
    /// Of all batches. Not in the oldest checkpoints, nor are weight and samples of a term.
    #[serde(default)]
    samples: u64,
    /// Batches without any term that had a target of an output. Not in the oldest checkpoints.
    #[serde(default)]
    silent: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Sum {
    value: f64,
    weighted: f64,
    #[serde(default)]
    weight: f64,
    count: u64,
    #[serde(default)]
    samples: u64,
    /// The value, as long as it is always the same.
    only: Option<f64>,
}

/// A term with the same value in so many steps of an epoch, and no other, is said never to change.
const EQUAL_VALUES: u64 = 5;

impl TermSums {
    /// Adds the terms of one batch of so many samples.
    pub fn add(&mut self, terms: &[Term], batch: usize) -> Result<(), StepError> {
        self.samples += batch as u64;
        for term in terms {
            let value = f64::try_from(&term.value)?;
            let weight = match &term.weight {
                Weight::Number(weight) => *weight,
                Weight::Learned(weight) => f64::try_from(weight)?,
            };
            let samples = term.samples.unwrap_or(batch as u64);
            self.merge(&term.name, Sum { value, weighted: weight * value, weight, count: 1, samples, only: Some(value) });
        }
        Ok(())
    }

    /// Notes a batch without any term that had a target of an output.
    pub fn add_silent(&mut self) {
        self.silent += 1;
    }

    /// Batches without any term that had a target of an output.
    pub fn silent(&self) -> u64 {
        self.silent
    }

    /// Whether there was no term at all.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Adds other sums.
    pub fn extend(&mut self, others: &Self) {
        self.samples += others.samples;
        self.silent += others.silent;
        others.terms.iter().for_each(|(name, sum)| self.merge(name, *sum));
    }

    fn merge(&mut self, name: &str, other: Sum) {
        match self.terms.get_mut(name) {
            None => {
                self.terms.insert(name.to_owned(), other);
            }
            Some(sum) => {
                sum.value += other.value;
                sum.weighted += other.weighted;
                sum.weight += other.weight;
                sum.count += other.count;
                sum.samples += other.samples;
                sum.only = sum.only.filter(|value| other.only == Some(*value));
            }
        }
    }

    /// Samples of all batches.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Terms that never changed.
    pub fn constant(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().filter(|(_, sum)| sum.only.is_some() && sum.count >= EQUAL_VALUES).map(|(name, _)| name.as_str())
    }

    /// Means by term.
    pub fn means(&self) -> IndexMap<String, TermMean> {
        let mean = |sum: &Sum| {
            let count = sum.count as f64;
            let (value, weighted, weight) = (sum.value / count, sum.weighted / count, sum.weight / count);
            TermMean { value, weighted, weight, samples: sum.samples }
        };
        self.terms.iter().map(|(name, sum)| (name.clone(), mean(sum))).collect()
    }

    /// The whole loss: Σ of the weighted means; NaN without any.
    pub fn total(&self) -> f64 {
        self.means().values().map(|mean| mean.weighted).reduce(|sum, weighted| sum + weighted).unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn scalar(value: f64) -> Tensor {
        Tensor::full([], value, (Kind::Float, Device::Cpu)).set_requires_grad(true)
    }

    fn term(name: &str, weight: impl Into<Weight>, value: &Tensor) -> Term {
        Term { name: name.to_owned(), weight: weight.into(), value: value * 1.0, lowest: 0.0, samples: None }
    }

    #[test]
    fn gradients_are_the_weights_and_weight_zero_has_none() {
        let (a, b, c, learned) = (scalar(2.0), scalar(3.0), scalar(5.0), scalar(0.5));
        let terms = [term("a", 1.0, &a), term("b", learned.shallow_clone(), &b), term("c", 0.0, &c)];
        let sum = total(&terms).unwrap().unwrap();
        assert_eq!(f64::try_from(&sum).unwrap(), 3.5);
        sum.backward();
        let gradient = |tensor: &Tensor| f64::try_from(tensor.grad()).unwrap();
        assert_eq!([gradient(&a), gradient(&b), gradient(&learned)], [1.0, 0.5, 3.0]);
        assert!(!c.grad().defined());
        assert!(total(&terms[2..]).unwrap().is_none());
    }

    #[test]
    fn a_term_that_never_changes_is_found() {
        let mut sums = TermSums::default();
        for step in 0..5 {
            assert_eq!(sums.constant().count(), 0);
            sums.add(&[term("alive", 1.0, &scalar(f64::from(step))), term("dead", 1.0, &scalar(0.0))], 2).unwrap();
        }
        assert_eq!(sums.constant().collect::<Vec<_>>(), ["dead"]);
    }

    #[test]
    fn means_are_over_the_iterations_that_had_the_term() {
        let mut sums = TermSums::default();
        sums.add(&[term("a", 0.5, &scalar(2.0))], 2).unwrap();
        sums.add(&[term("a", 0.5, &scalar(4.0)), Term { samples: Some(1), ..term("b", 2.0, &scalar(1.0)) }], 2).unwrap();
        assert_eq!(sums.means()["a"], TermMean { value: 3.0, weighted: 1.5, weight: 0.5, samples: 4 });
        assert_eq!(sums.means()["b"], TermMean { value: 1.0, weighted: 2.0, weight: 2.0, samples: 1 });
        assert_eq!(sums.total(), 3.5);
    }
}
