//! Weights of terms beyond those that the plugin gives: factors over epochs, and strategies that balance terms by what they do.
//!
//! A [`Weighting`] is what was asked for. In every step [`Weighting::apply`] multiplies the terms' weights before the host sums them; what it
//! has to remember is a [`State`], which every checkpoint holds. `dwa` looks at how fast losses fall from epoch to epoch, `gradnorm` at their
//! gradients in every step, which `shared` measures.

mod dwa;
mod gradnorm;
mod shared;

use super::StepError;
use crate::config::{FactorSchedule, Strategy, Weighting};
use indexmap::IndexMap;
use plugin_api::options::suggestion;
use plugin_api::{Term, Weight};
use serde::{Deserialize, Serialize};

use dwa::Dwa;
use gradnorm::GradNorm;
pub use shared::{Cosines, SharedLayer};

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

/// What a step says of one term that is balanced.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The term.
    pub name: String,
    /// Its weight as the plugin gives it.
    pub given: f64,
    /// Its unweighted value above the least that it can be.
    pub loss: f64,
    /// Norm of its unweighted gradient at the last shared layer; 0 where that was not measured.
    pub norm: f64,
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

/// What a strategy remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Which layer is the last that all terms share: see [`SharedLayer`].
    pub shared_layer: usize,
    dwa: Dwa,
    gradnorm: GradNorm,
}

impl State {
    fn factor(&self, strategy: Strategy, term: &str, given: f64) -> f64 {
        match strategy {
            Strategy::Given => 1.0,
            Strategy::Dwa { .. } => self.dwa.factor(term),
            Strategy::GradNorm { .. } => self.gradnorm.weight(term).map_or(1.0, |weight| weight / given),
        }
    }

    /// After a step, of which the terms that are balanced were `seen`.
    pub fn after_step(&mut self, weighting: &Weighting, seen: &[Seen]) {
        if let Strategy::GradNorm { alpha, rate } = weighting.strategy {
            self.gradnorm.update(seen, alpha, rate);
        }
        if let Strategy::Dwa { .. } = weighting.strategy {
            seen.iter().for_each(|seen| self.dwa.add(&seen.name, seen.loss));
        }
    }

    /// After the training steps of an epoch.
    pub fn after_epoch(&mut self, weighting: &Weighting) {
        if let Strategy::Dwa { temperature } = weighting.strategy {
            self.dwa.finish_epoch(temperature);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Weights on a small analytic problem, step by step and epoch by epoch: `tests/golden/make_weighting.py`.
    #[test]
    fn weights_move_as_the_papers_say() {
        let golden: Value = serde_json::from_str(include_str!("../../../../tests/golden/weighting.json")).expect("JSON");
        let numbers = |value: &Value| -> Vec<f64> { serde_json::from_value(value.clone()).expect("numbers") };
        let seen = |given: &[f64], losses: &[f64], norms: &[f64]| -> Vec<Seen> {
            (0..3).map(|i| Seen { name: i.to_string(), given: given[i], loss: losses[i], norm: norms[i] }).collect()
        };
        let check = |state: &State, strategy: Strategy, given: &[f64], expected: &[f64]| {
            for (i, expected) in expected.iter().enumerate() {
                let found = given[i] * state.factor(strategy, &i.to_string(), given[i]);
                assert!((found - expected).abs() < 1e-9, "{strategy:?}: {found} instead of {expected}");
            }
        };
        for case in golden["gradnorm"].as_array().expect("cases") {
            let strategy =
                Strategy::GradNorm { alpha: case["alpha"].as_f64().expect("number"), rate: case["rate"].as_f64().expect("number") };
            let weighting = Weighting { strategy, ..Weighting::default() };
            let (mut state, given) = (State::default(), numbers(&case["given"]));
            for step in case["steps"].as_array().expect("steps") {
                state.after_step(&weighting, &seen(&given, &numbers(&step["losses"]), &numbers(&step["norms"])));
                check(&state, strategy, &given, &numbers(&step["weights"]));
            }
        }
        for case in golden["dwa"].as_array().expect("cases") {
            let strategy = Strategy::Dwa { temperature: case["temperature"].as_f64().expect("number") };
            let weighting = Weighting { strategy, ..Weighting::default() };
            let mut state = State::default();
            let (losses, weights) = (case["losses"].as_array().expect("epochs"), case["weights"].as_array().expect("epochs"));
            for (losses, weights) in losses.iter().zip(weights) {
                check(&state, strategy, &[1.0; 3], &numbers(weights));
                let losses = numbers(losses);
                // Two steps an epoch, of which the mean counts.
                for factor in [0.5, 1.5] {
                    let losses: Vec<f64> = losses.iter().map(|loss| loss * factor).collect();
                    state.after_step(&weighting, &seen(&[1.0; 3], &losses, &[0.0; 3]));
                }
                state.after_epoch(&weighting);
            }
        }
    }

    #[test]
    fn a_loss_that_rises_from_nothing_does_not_overflow() {
        let strategy = Strategy::Dwa { temperature: 2.0 };
        let weighting = Weighting { strategy, ..Weighting::default() };
        let mut state = State::default();
        for losses in [[1e-9, 1.0], [1.0, 1.0]] {
            let seen = |i: usize| Seen { name: i.to_string(), given: 1.0, loss: losses[i], norm: 0.0 };
            state.after_step(&weighting, &[seen(0), seen(1)]);
            state.after_epoch(&weighting);
        }
        let factors = ["0", "1"].map(|term| state.factor(strategy, term, 1.0));
        assert_eq!(factors, [2.0, 0.0]);
    }

    #[test]
    fn a_schedule_of_no_term_is_named() {
        let weighting = Weighting::new(&["a=constant:2".parse().expect("valid")]);
        let error = weighting.check_names(["parts", "whole"].into_iter()).expect_err("unknown").to_string();
        assert_eq!(error, "--weighting: there is no term 'a'; there are: parts, whole");
    }
}
