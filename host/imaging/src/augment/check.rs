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

fn probability(place: &str, value: f64) -> Result {
    require((0.0..=1.0).contains(&value), place, value, "a probability, from 0 to 1")
}

/// `[least, greatest]`, both from `low` to `high`.
fn range(place: &str, range: [f64; 2], low: f64, high: f64) -> Result {
    let right = range[0] >= low && range[0] <= range[1] && range[1] <= high;
    require(right, place, range, format!("[least, greatest], both from {low} to {high}"))
}

fn counts(place: &str, range: [usize; 2], high: usize) -> Result {
    require((1..=range[1]).contains(&range[0]) && range[1] <= high, place, range, format!("[least, greatest], both from 1 to {high}"))
}

fn axes(place: &str, axes: &[usize]) -> Result {
    let different = axes.iter().enumerate().all(|(i, axis)| *axis < 3 && !axes[..i].contains(axis));
    require(different, place, axes, "different axes, 0 (z), 1 (y) or 2 (x)")
}

impl Augmentation {
    /// Checks that it can be carried out on patches of size `patch` (Z, Y, X).
    ///
    /// # Errors
    /// When something is out of range, or axes of different sizes would be exchanged: names the key.
    pub fn check(&self, patch: [usize; 3]) -> Result {
        if let Some(spatial) = &self.spatial {
            probability("spatial.rotation_probability", spatial.rotation_probability)?;
            range("spatial.rotation_degrees", spatial.rotation_degrees, -360.0, 360.0)?;
            probability("spatial.axis_probability", spatial.axis_probability)?;
            probability("spatial.scaling_probability", spatial.scaling_probability)?;
            range("spatial.scaling", spatial.scaling, 0.05, 20.0)?;
            let possible = spatial.box_scale.is_none_or(|scale| (0.05..=1.0).contains(&scale));
            require(possible, "spatial.box_scale", spatial.box_scale, "none, or a factor from 0.05 to 1")?;
            require(spatial.in_plane || patch[0] > 1, "spatial.in_plane", false, "true, since patches have one slice")?;
        }
        if let Some(turn) = &self.turn {
            probability("turn.turn_probability", turn.turn_probability)?;
            probability("turn.exchange_probability", turn.exchange_probability)?;
            axes("turn.axes", &turn.axes)?;
            let alike = turn.axes.iter().all(|axis| patch[*axis] == patch[turn.axes[0]]);
            require(alike, "turn.axes", &turn.axes, format!("axes along which the patch {patch:?} has one size"))?;
        }
        if let Some(mirror) = &self.mirror {
            probability("mirror.probability", mirror.probability)?;
            axes("mirror.axes", &mirror.axes)?;
        }
        if let Some(stage) = &self.previous_stage {
            probability("previous_stage.morphology_probability", stage.morphology_probability)?;
            probability("previous_stage.morphology_label_probability", stage.morphology_label_probability)?;
            range("previous_stage.radius", stage.radius, 1.0, 64.0)?;
            probability("previous_stage.removal_probability", stage.removal_probability)?;
            probability("previous_stage.removal_label_probability", stage.removal_label_probability)?;
            probability("previous_stage.removal_below", stage.removal_below)?;
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
        probability(&self.inner(key).0, value)
    }

    /// Refuses what is not `[least, greatest]`, both from `low` to `high`.
    pub fn range(&self, key: &str, found: [f64; 2], low: f64, high: f64) -> Result {
        range(&self.inner(key).0, found, low, high)
    }

    /// The same for numbers from 1 to `high`.
    pub fn counts(&self, key: &str, found: [usize; 2], high: usize) -> Result {
        counts(&self.inner(key).0, found, high)
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
