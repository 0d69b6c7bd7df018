//! Weights of terms beyond those that the plugin gives, in a step: factors over epochs, and a strategy of [`crate::weightings`].
//!
//! A [`Weighting`] is what was asked for. In every step [`Weighting::apply`] multiplies the terms' weights before the host sums them; what the
//! strategy has to remember is a [`State`], which every checkpoint holds.

use super::StepError;
use crate::config::{FactorSchedule, Weighting};
use crate::weightings::{Seen, State, Strategy};
use indexmap::IndexMap;
use plugin_api::options::suggestion;
use plugin_api::{Term, Weight};

impl Weighting {
    /// Multiplies the weights of `terms` as `epoch` of `epochs` and `state` say.
    pub fn apply(&self, terms: &mut [Term], state: &State, epoch: u64, epochs: u64) -> Result<(), StepError> {
        for term in terms {
            let factor = match self.schedules.get(&term.name) {
                Some(schedule) if matches!(term.weight, Weight::Learned(_)) && *schedule != FactorSchedule::Constant(1.0) => {
                    return Err(StepError::Weighting(format!(
                        "term '{}' has a learned weight, which would make up for a factor of it; leave its schedule away",
                        term.name
                    )));
                }
                Some(schedule) => schedule.factor(epoch, epochs),
                None => match self.balances(term)? {
                    Some(given) => state.factor(self.strategy, &term.name, given),
                    None => continue,
                },
            };
            match &mut term.weight {
                Weight::Number(weight) => *weight *= factor,
                Weight::Learned(weight) => *weight = weight.f_mul_scalar(factor)?,
            }
        }
        Ok(())
    }

    /// The weight that `term` is given, if the strategy decides about it.
    ///
    /// # Errors
    /// When it should, and cannot.
    pub fn balances(&self, term: &Term) -> Result<Option<f64>, StepError> {
        if self.strategy == Strategy::Given || !trains(term) || self.schedules.contains_key(&term.name) {
            return Ok(None);
        }
        let name = self.strategy.name();
        let remedy = format!("give it a schedule (--weighting {}=constant:1), or leave {name} away", term.name);
        let Weight::Number(given) = term.weight else {
            return Err(StepError::Weighting(format!(
                "term '{}' has a learned weight, which {name} would balance again; {remedy}",
                term.name
            )));
        };
        if !term.lowest.is_finite() {
            let why = format!("term '{}' has no lower bound, so a ratio of its values says nothing to {name}", term.name);
            return Err(StepError::Weighting(format!("{why}; {remedy}")));
        }
        Ok(Some(given))
    }

    /// How far the value of `term` is above the least that it can be.
    pub fn above_lowest(&self, term: &Term) -> Result<f64, StepError> {
        let above = f64::try_from(&term.value)? - term.lowest;
        if above < -1e-6 {
            let found = above + term.lowest;
            return Err(StepError::Weighting(format!(
                "term '{}' is {found}, below {}, which its plugin says is the least that it can be; {} needs the right bound: the plugin gives it with \
                 Base::supervise_by or Value::lowest",
                term.name,
                term.lowest,
                self.strategy.name()
            )));
        }
        Ok(above.max(0.0))
    }

    /// Refuses schedules of terms that are not among `terms`.
    pub fn check_names<'a>(&self, terms: impl Iterator<Item = &'a str> + Clone) -> Result<(), StepError> {
        match self.schedules.keys().find(|name| !terms.clone().any(|term| term == *name)) {
            Some(unknown) => Err(StepError::Weighting(format!("there is no term '{unknown}'{}", suggestion(unknown, terms)))),
            None => Ok(()),
        }
    }
}

/// What the batches of one step say together.
#[derive(Debug, Default)]
pub struct SeenSums(IndexMap<String, (Seen, u64)>);

impl SeenSums {
    /// Adds what a batch says.
    pub fn add(&mut self, seen: Seen) {
        match self.0.get_mut(&seen.name) {
            Some((sum, count)) => {
                sum.loss += seen.loss;
                sum.norm += seen.norm;
                *count += 1;
            }
            None => {
                self.0.insert(seen.name.clone(), (seen, 1));
            }
        }
    }

    /// Means over the batches.
    pub fn finish(self) -> Vec<Seen> {
        let mean = |(seen, count): (Seen, u64)| Seen { loss: seen.loss / count as f64, norm: seen.norm / count as f64, ..seen };
        self.0.into_values().map(mean).collect()
    }
}

/// Whether `term` trains anything by a sample: neither one that is only logged, nor one that is about none.
pub(super) fn trains(term: &Term) -> bool {
    !matches!(term.weight, Weight::Number(weight) if weight == 0.0) && term.samples != Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_of_no_term_is_named() {
        let weighting = Weighting::new(&["a=constant:2".parse().expect("valid")]);
        let error = weighting.check_names(["parts", "whole"].into_iter()).expect_err("unknown").to_string();
        assert_eq!(error, "--weighting: there is no term 'a'; there are: parts, whole");
    }
}
