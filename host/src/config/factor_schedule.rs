//! A factor of one term's weight over the epochs of a run.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The factor in every epoch, counted from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorSchedule {
    /// `constant:VALUE`.
    Constant(f64),
    /// `linear:FROM:TO[:EPOCHS]`: a straight line that reaches TO in the last of so many epochs (default: of the run), and stays there.
    Linear {
        /// In epoch 0.
        from: f64,
        /// In the last.
        to: f64,
        /// Of how many; the run's where there is none.
        epochs: Option<u64>,
    },
    /// `cosine:FROM:TO[:EPOCHS]`: the same along half a cosine.
    Cosine {
        /// In epoch 0.
        from: f64,
        /// In the last.
        to: f64,
        /// Of how many; the run's where there is none.
        epochs: Option<u64>,
    },
    /// `step:VALUE[:EPOCH:VALUE…]`: a new value from each of these epochs on.
    Step {
        /// From epoch 0 on.
        first: f64,
        /// Epoch, and value from it on; epochs rise.
        then: Vec<(u64, f64)>,
    },
    /// `warmup:EPOCHS[:VALUE]`: rises evenly in so many epochs, and is VALUE (default: 1) from the last of these on.
    WarmUp {
        /// How many.
        epochs: u64,
        /// The value then.
        to: f64,
    },
}

impl FactorSchedule {
    /// In `epoch` of `epochs`.
    pub fn factor(&self, epoch: u64, epochs: u64) -> f64 {
        // Share of the way, 1 from the last of these epochs on.
        let share = |of: Option<u64>| {
            let last = of.unwrap_or(epochs).saturating_sub(1);
            if epoch >= last { 1.0 } else { epoch as f64 / last as f64 }
        };
        let between = |from: f64, to: f64, share: f64| if share >= 1.0 { to } else { from + (to - from) * share };
        match self {
            Self::Constant(value) => *value,
            Self::Linear { from, to, epochs } => between(*from, *to, share(*epochs)),
            Self::Cosine { from, to, epochs } => between(*from, *to, 0.5 - 0.5 * (PI * share(*epochs)).cos()),
            Self::Step { first, then } => then.iter().rev().find(|(from, _)| epoch >= *from).map_or(*first, |(_, value)| *value),
            Self::WarmUp { epochs, to } => to * ((epoch + 1) as f64 / *epochs as f64).min(1.0),
        }
    }
}

impl std::str::FromStr for FactorSchedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split(':');
        let name = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let optional_epochs = |word: Option<&&str>| word.map(|word| whole(word)).transpose();
        Ok(match (name, words.len()) {
            ("constant", 1) => Self::Constant(number(words[0])?),
            ("linear", 2..=3) => Self::Linear { from: number(words[0])?, to: number(words[1])?, epochs: optional_epochs(words.get(2))? },
            ("cosine", 2..=3) => Self::Cosine { from: number(words[0])?, to: number(words[1])?, epochs: optional_epochs(words.get(2))? },
            ("step", count) if count % 2 == 1 => {
                let then = words[1..].chunks(2).map(|pair| Ok((whole(pair[0])?, number(pair[1])?))).collect::<Result<Vec<_>, String>>()?;
                if !then.is_sorted_by(|a, b| a.0 < b.0) {
                    return Err("the epochs of a step schedule must rise".to_owned());
                }
                Self::Step { first: number(words[0])?, then }
            }
            ("warmup", 1..=2) => Self::WarmUp { epochs: whole(words[0])?, to: words.get(1).map_or(Ok(1.0), |word| number(word))? },
            _ => {
                return Err("expected constant:VALUE, linear:FROM:TO[:EPOCHS], cosine:FROM:TO[:EPOCHS], step:VALUE[:EPOCH:VALUE…], or \
                            warmup:EPOCHS[:VALUE]"
                    .to_owned());
            }
        })
    }
}

/// A number of at least 0.
pub(super) fn number(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| format!("{text:?} is not a number of at least 0"))
}

fn whole(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("{text:?} is not a number of epochs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_over_ten_epochs() {
        let factors = |text: &str, epochs: &[u64]| -> Vec<f64> {
            let schedule: FactorSchedule = text.parse().expect("valid");
            epochs.iter().map(|epoch| schedule.factor(*epoch, 10)).collect()
        };
        assert_eq!(factors("constant:0.3", &[0, 9]), [0.3, 0.3]);
        assert_eq!(factors("linear:0:9", &[0, 1, 5, 9, 12]), [0.0, 1.0, 5.0, 9.0, 9.0]);
        assert_eq!(factors("linear:1:0.01:3", &[0, 1, 2, 9]), [1.0, 0.505, 0.01, 0.01]);
        let cosine = factors("cosine:1:0:5", &[0, 1, 2, 4, 9]);
        let expected = [1.0, 0.5 + 0.5 * (PI / 4.0).cos(), 0.5, 0.0, 0.0];
        assert!(cosine.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-15), "{cosine:?}");
        assert_eq!(factors("step:1:3:0.5:6:0", &[0, 2, 3, 5, 6, 9]), [1.0, 1.0, 0.5, 0.5, 0.0, 0.0]);
        assert_eq!(factors("warmup:4:2", &[0, 1, 3, 9]), [0.5, 1.0, 2.0, 2.0]);
        assert_eq!(factors("linear:0:1:1", &[0, 1]), [1.0, 1.0]);
    }
}
