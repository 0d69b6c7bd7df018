//! How loss terms are balanced against each other while a run trains, beyond the weights that their plugin gives.
//!
//! One file each, and its line in `strategies!`; nothing outside its file knows its numbers or what it remembers. After every step a strategy is told what was
//! [`Seen`] of the terms, and it says by which factor a term's weight is multiplied in the next one.

mod dwa;
mod gradnorm;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A way to balance terms.
pub(crate) trait Balance: Copy + fmt::Debug {
    /// As the command line has it.
    const NAME: &'static str;

    /// Numbers that may follow its name: what they are called, and what they are unless given.
    const NUMBERS: &'static [(&'static str, f64)];

    /// Whether it needs the norms of gradients, which cost a part of a backward pass for every term.
    const LOOKS_AT_GRADIENTS: bool;

    /// What it remembers; every checkpoint holds it.
    type Memory: Clone + Default + Serialize + DeserializeOwned;

    /// With these numbers, one for each of `NUMBERS`; none where they cannot be.
    fn new(numbers: &[f64]) -> Option<Self>;

    /// What the weight of `term`, `given` by the plugin, is multiplied by.
    fn factor(&self, memory: &Self::Memory, term: &str, given: f64) -> f64;

    /// After a step, of which the terms that are balanced were `seen`.
    fn after_step(&self, memory: &mut Self::Memory, seen: &[Seen]);

    /// After the training steps of an epoch.
    fn after_epoch(&self, _memory: &mut Self::Memory) {}
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

/// Makes the enumeration of all strategies, and what they remember.
macro_rules! strategies {
    ($($name:ident in $module:ident),+ $(,)?) => {
        /// How terms are balanced.
        #[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "each file says what it does")]
        pub enum Strategy {
            /// As the plugin gives the weights.
            #[default]
            Given,
            $($name($module::$name)),+
        }

        /// What strategies remember.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        pub struct State {
            /// Which layer is the last that all terms share, counted from the output.
            pub shared_layer: usize,
            $(#[serde(default)] $module: <$module::$name as Balance>::Memory),+
        }

        impl Strategy {
            /// Every strategy as text: `dwa[:TEMPERATURE]`.
            pub fn usages() -> Vec<String> {
                vec![GIVEN.to_owned(), $(usage::<$module::$name>()),+]
            }

            /// Called `name`, with the `numbers` that follow it; none where there is no such one.
            pub fn new(name: &str, numbers: &[f64]) -> Option<Self> {
                match name {
                    GIVEN if numbers.is_empty() => Some(Self::Given),
                    $($module::$name::NAME => filled(numbers).map(Self::$name),)+
                    _ => None,
                }
            }

            /// As the command line has it.
            pub fn name(self) -> &'static str {
                match self {
                    Self::Given => GIVEN,
                    $(Self::$name(_) => $module::$name::NAME),+
                }
            }

            /// Whether it looks at gradients in every step.
            pub fn looks_at_gradients(self) -> bool {
                match self {
                    Self::Given => false,
                    $(Self::$name(_) => $module::$name::LOOKS_AT_GRADIENTS),+
                }
            }
        }

        impl fmt::Debug for Strategy {
            /// As a log has it: `Dwa { temperature: 2.0 }`.
            fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
                match self {
                    Self::Given => f.write_str("Given"),
                    $(Self::$name(strategy) => strategy.fmt(f)),+
                }
            }
        }

        impl State {
            /// What the weight of `term`, `given` by the plugin, is multiplied by.
            pub fn factor(&self, strategy: Strategy, term: &str, given: f64) -> f64 {
                match strategy {
                    Strategy::Given => 1.0,
                    $(Strategy::$name(strategy) => strategy.factor(&self.$module, term, given)),+
                }
            }

            /// After a step, of which the terms that are balanced were `seen`.
            pub fn after_step(&mut self, strategy: Strategy, seen: &[Seen]) {
                match strategy {
                    Strategy::Given => {}
                    $(Strategy::$name(strategy) => strategy.after_step(&mut self.$module, seen)),+
                }
            }

            /// After the training steps of an epoch.
            pub fn after_epoch(&mut self, strategy: Strategy) {
                match strategy {
                    Strategy::Given => {}
                    $(Strategy::$name(strategy) => strategy.after_epoch(&mut self.$module)),+
                }
            }
        }
    };
}

strategies! {
    Dwa in dwa,
    GradNorm in gradnorm,
}

/// The weights as they are.
const GIVEN: &str = "given";

/// `gradnorm[:ALPHA[:RATE]]`.
fn usage<B: Balance>() -> String {
    let numbers: String = B::NUMBERS.iter().map(|(name, _)| format!("[:{name}")).collect();
    format!("{}{numbers}{}", B::NAME, "]".repeat(B::NUMBERS.len()))
}

/// With `numbers`, and the defaults of those that do not follow.
fn filled<B: Balance>(numbers: &[f64]) -> Option<B> {
    let defaults = B::NUMBERS.get(numbers.len()..)?.iter().map(|(_, default)| *default);
    B::new(&numbers.iter().copied().chain(defaults).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn strategy(name: &str, numbers: &[f64]) -> Strategy {
        Strategy::new(name, numbers).expect("valid")
    }

    fn number(value: &Value) -> f64 {
        value.as_f64().expect("number")
    }

    /// Weights on a small analytic problem, step by step and epoch by epoch: `tests/golden/make_weighting.py`.
    #[test]
    fn weights_move_as_the_papers_say() {
        let golden: Value = serde_json::from_str(include_str!("../../../tests/golden/weighting.json")).expect("JSON");
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
            let strategy = strategy("gradnorm", &[number(&case["alpha"]), number(&case["rate"])]);
            let (mut state, given) = (State::default(), numbers(&case["given"]));
            for step in case["steps"].as_array().expect("steps") {
                state.after_step(strategy, &seen(&given, &numbers(&step["losses"]), &numbers(&step["norms"])));
                check(&state, strategy, &given, &numbers(&step["weights"]));
            }
        }
        for case in golden["dwa"].as_array().expect("cases") {
            let strategy = strategy("dwa", &[number(&case["temperature"])]);
            let mut state = State::default();
            let (losses, weights) = (case["losses"].as_array().expect("epochs"), case["weights"].as_array().expect("epochs"));
            for (losses, weights) in losses.iter().zip(weights) {
                check(&state, strategy, &[1.0; 3], &numbers(weights));
                let losses = numbers(losses);
                // Two steps an epoch, of which the mean counts.
                for factor in [0.5, 1.5] {
                    let losses: Vec<f64> = losses.iter().map(|loss| loss * factor).collect();
                    state.after_step(strategy, &seen(&[1.0; 3], &losses, &[0.0; 3]));
                }
                state.after_epoch(strategy);
            }
        }
    }

    #[test]
    fn a_loss_that_rises_from_nothing_does_not_overflow() {
        let strategy = strategy("dwa", &[]);
        let mut state = State::default();
        for losses in [[1e-9, 1.0], [1.0, 1.0]] {
            let seen = |i: usize| Seen { name: i.to_string(), given: 1.0, loss: losses[i], norm: 0.0 };
            state.after_step(strategy, &[seen(0), seen(1)]);
            state.after_epoch(strategy);
        }
        let factors = ["0", "1"].map(|term| state.factor(strategy, term, 1.0));
        assert_eq!(factors, [2.0, 0.0]);
    }
}
