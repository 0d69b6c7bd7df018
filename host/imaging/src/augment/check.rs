//! What a pipeline must not say.

use super::{Augmentation, Step};

/// A pipeline that cannot be carried out.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{place} is {found}, expected {expected}")]
pub struct Error {
    /// The key, such as `intensity[2].blur.sigma`.
    pub place: String,
    /// What it says.
    pub found: String,
    /// What it might say.
    pub expected: String,
}

type Result = std::result::Result<(), Error>;

fn require(right: bool, place: &str, found: impl std::fmt::Debug, expected: impl Into<String>) -> Result {
    if right { Ok(()) } else { Err(Error { place: place.to_owned(), found: format!("{found:?}"), expected: expected.into() }) }
}

impl Augmentation {
    /// Checks that it can be carried out on patches of size `patch` (Z, Y, X).
    ///
    /// # Errors
    /// When something is out of range, or axes of different sizes would be exchanged: names the key.
    pub fn check(&self, patch: [usize; 3]) -> Result {
        for (key, moves) in self.moves() {
            if let Some(moves) = moves {
                moves.check(&Place(key.to_owned()), patch)?;
            }
        }
        if let Some(stage) = &self.previous_stage {
            stage.check(&Place("previous_stage".to_owned()))?;
        }
        check_steps("intensity", &self.intensity)
    }
}

/// Where in a pipeline something stands.
pub(super) struct Place(String);

impl Place {
    /// What stands at `key` there.
    pub fn inner(&self, key: &str) -> Self {
        Self(format!("{}.{key}", self.0))
    }

    /// Refuses what is no probability.
    pub fn probability(&self, key: &str, value: f64) -> Result {
        self.require((0.0..=1.0).contains(&value), key, value, "a probability, from 0 to 1")
    }

    /// Refuses what is not `[least, greatest]`, both from `low` to `high`.
    pub fn range(&self, key: &str, found: [f64; 2], low: f64, high: f64) -> Result {
        let right = found[0] >= low && found[0] <= found[1] && found[1] <= high;
        self.require(right, key, found, format!("[least, greatest], both from {low} to {high}"))
    }

    /// The same for numbers from 1 to `high`.
    pub fn counts(&self, key: &str, found: [usize; 2], high: usize) -> Result {
        let right = (1..=found[1]).contains(&found[0]) && found[1] <= high;
        self.require(right, key, found, format!("[least, greatest], both from 1 to {high}"))
    }

    /// Refuses what are not different axes.
    pub fn axes(&self, key: &str, axes: &[usize]) -> Result {
        let different = axes.iter().enumerate().all(|(i, axis)| *axis < 3 && !axes[..i].contains(axis));
        self.require(different, key, axes, "different axes, 0 (z), 1 (y) or 2 (x)")
    }

    /// Refuses what is not `right`.
    pub fn require(&self, right: bool, key: &str, found: impl std::fmt::Debug, expected: impl Into<String>) -> Result {
        require(right, &self.inner(key).0, found, expected)
    }

    /// Refuses no steps, of which one is to be drawn, and steps that cannot be.
    pub fn steps(&self, steps: &[Step]) -> Result {
        require(!steps.is_empty(), &self.0, steps, "at least one step")?;
        check_steps(&self.0, steps)
    }
}

fn check_steps(place: &str, steps: &[Step]) -> Result {
    steps.iter().enumerate().try_for_each(|(number, step)| {
        let place = Place(format!("{place}[{number}]"));
        place.probability("probability", step.probability)?;
        step.transform.check(&place)
    })
}
