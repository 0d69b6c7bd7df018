//! Weights of terms beyond those that the plugin gives, as they are asked for.

use super::factor_schedule::{FactorSchedule, number};
use crate::weightings::Strategy;
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

/// One of several wishes, as text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum WeightingArg {
    /// Its name, and numbers after colons: see [`Strategy::usages`].
    Strategy(Strategy),
    /// `TERM=SCHEDULE`.
    Schedule(String, FactorSchedule),
}

impl WeightingArg {
    /// What may be asked for, for people.
    pub fn about() -> String {
        format!(
            "How loss terms are weighted beyond what the plugin says: {}; or a factor of one term's weight over the epochs: TERM=constant:VALUE, \
             linear:FROM:TO[:EPOCHS], cosine:FROM:TO[:EPOCHS], step:VALUE[:EPOCH:VALUE…], warmup:EPOCHS[:VALUE]; may be repeated",
            Strategy::usages().join(", ")
        )
    }
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
        let strategy = Strategy::new(name, &numbers);
        strategy.map(Self::Strategy).ok_or_else(|| format!("expected {}, or TERM=SCHEDULE", Strategy::usages().join(", ")))
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_read_or_named() {
        let read = |text: &str| text.parse::<WeightingArg>();
        let strategy = |name, numbers: &[f64]| Ok(WeightingArg::Strategy(Strategy::new(name, numbers).expect("valid")));
        assert_eq!(read("dwa:3"), strategy("dwa", &[3.0]));
        assert_eq!(read("gradnorm:0.5"), strategy("gradnorm", &[0.5, 0.025]));
        let arguments = ["gradnorm", "a=constant:2", "a=constant:3"].map(|text| read(text).expect("valid"));
        let weighting = Weighting::new(&arguments);
        assert_eq!(weighting.schedules["a"], FactorSchedule::Constant(3.0));
        assert!(weighting.strategy.looks_at_gradients());
        for text in ["dwa:0", "dwa:x", "gradnorm:1:2:3", "pcgrad", "a=", "a=linear:1", "a=constant:nan"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
