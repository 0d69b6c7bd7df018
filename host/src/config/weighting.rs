//! Weights of terms beyond those that the plugin gives, as they are asked for.

use super::factor_schedule::{FactorSchedule, number};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Weighting {
    /// Balances all terms that have no schedule.
    pub strategy: Strategy,
    /// Factors of the given weights, by term.
    pub schedules: IndexMap<String, FactorSchedule>,
}

/// How terms are balanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// As the plugin gives them.
    #[default]
    Given,
    /// Dynamic weight average.
    Dwa {
        /// The larger, the more even.
        temperature: f64,
    },
    /// Gradient normalisation.
    GradNorm {
        /// How much slower terms are preferred.
        alpha: f64,
        /// Learning rate of the weights.
        rate: f64,
    },
}

/// One of several wishes, as text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum WeightingArg {
    /// `given`, `dwa[:TEMPERATURE]`, `gradnorm[:ALPHA[:RATE]]`.
    Strategy(Strategy),
    /// `TERM=SCHEDULE`.
    Schedule(String, FactorSchedule),
}

impl TryFrom<String> for WeightingArg {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for WeightingArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((term, schedule)) = text.split_once('=') {
            return Ok(Self::Schedule(term.to_owned(), schedule.parse()?));
        }
        let mut words = text.split(':');
        let name = words.next().unwrap_or_default();
        let numbers: Vec<f64> = words.map(number).collect::<Result<_, _>>()?;
        let strategy = match (name, &numbers[..]) {
            ("given", []) => Strategy::Given,
            ("dwa", []) => Strategy::Dwa { temperature: 2.0 },
            ("dwa", [temperature]) if *temperature > 0.0 => Strategy::Dwa { temperature: *temperature },
            ("gradnorm", []) => Strategy::GradNorm { alpha: 1.5, rate: 0.025 },
            ("gradnorm", [alpha]) => Strategy::GradNorm { alpha: *alpha, rate: 0.025 },
            ("gradnorm", [alpha, rate]) if *rate > 0.0 => Strategy::GradNorm { alpha: *alpha, rate: *rate },
            _ => return Err("expected given, dwa[:TEMPERATURE], gradnorm[:ALPHA[:RATE]], or TERM=SCHEDULE".to_owned()),
        };
        Ok(Self::Strategy(strategy))
    }
}

impl Weighting {
    /// All that was asked for; of several strategies, or schedules of one term, the last.
    pub fn new(arguments: &[WeightingArg]) -> Self {
        let mut weighting = Self::default();
        for argument in arguments {
            match argument {
                WeightingArg::Strategy(strategy) => weighting.strategy = *strategy,
                WeightingArg::Schedule(term, schedule) => {
                    weighting.schedules.insert(term.clone(), schedule.clone());
                }
            }
        }
        weighting
    }

    /// Whether it looks at gradients in every step.
    pub fn looks_at_gradients(&self) -> bool {
        matches!(self.strategy, Strategy::GradNorm { .. })
    }
}

impl Strategy {
    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Dwa { .. } => "dwa",
            Self::GradNorm { .. } => "gradnorm",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_or_named() {
        let read = |text: &str| text.parse::<WeightingArg>();
        assert_eq!(read("dwa:3"), Ok(WeightingArg::Strategy(Strategy::Dwa { temperature: 3.0 })));
        assert_eq!(read("gradnorm:0.5"), Ok(WeightingArg::Strategy(Strategy::GradNorm { alpha: 0.5, rate: 0.025 })));
        let arguments = ["gradnorm", "a=constant:2", "a=constant:3"].map(|text| read(text).expect("valid"));
        let weighting = Weighting::new(&arguments);
        assert_eq!(weighting.schedules["a"], FactorSchedule::Constant(3.0));
        assert!(weighting.looks_at_gradients());
        for text in ["dwa:0", "dwa:x", "gradnorm:1:2:3", "pcgrad", "a=", "a=linear:1", "a=constant:nan"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
