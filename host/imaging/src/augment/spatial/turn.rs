//! Turns by right angles, and exchanged axes.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::super::check::{Error, Place};
use super::super::random::chance;
use super::orientation::Orientation;
use super::{Move, Moved};

/// Turns by right angles and exchanges axes, so that voxels stay voxels (batchgeneratorsv2 `spatial/rot90.py`,
/// `spatial/transpose.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Of turning in a plane of two of the axes, by 0, 90, 180 or 270 degrees.
    pub turn_probability: f64,
    /// Of putting the axes into a random order.
    pub exchange_probability: f64,
    /// Spatial axes that take part: 0 is z, 1 is y, 2 is x. The patch must have the same size along all of them.
    pub axes: Vec<usize>,
}

impl Turn {
    pub(in super::super) fn draw(&self, rng: &mut impl Rng) -> Orientation {
        let mut orientation = Orientation::default();
        let axes = &self.axes;
        if axes.len() < 2 {
            return orientation;
        }
        if chance(rng, self.turn_probability) {
            let quarters = rng.random_range(0..4);
            let first = rng.random_range(0..axes.len());
            let second = (first + rng.random_range(1..axes.len())) % axes.len();
            let (a, b) = (axes[first.min(second)], axes[first.max(second)]);
            for _ in 0..quarters {
                orientation = orientation.then(&Orientation::quarter_turn(a, b));
            }
        }
        if chance(rng, self.exchange_probability) {
            let mut order = [0, 1, 2];
            for last in (1..axes.len()).rev() {
                order.swap(axes[last], axes[rng.random_range(0..=last)]);
            }
            orientation = orientation.then(&Orientation { steps: order.map(|axis| (axis, 1)) });
        }
        orientation
    }
}

impl Move for Turn {
    fn add(&self, moved: &mut Moved, _: [usize; 3], mut rng: &mut dyn Rng) {
        moved.reorient(&self.draw(&mut rng));
    }

    fn check(&self, place: &Place, patch: [usize; 3]) -> Result<(), Error> {
        place.probability("turn_probability", self.turn_probability)?;
        place.probability("exchange_probability", self.exchange_probability)?;
        place.axes("axes", &self.axes)?;
        let alike = self.axes.iter().all(|axis| patch[*axis] == patch[self.axes[0]]);
        place.require(alike, "axes", &self.axes, format!("axes along which the patch {patch:?} has one size"))
    }
}
