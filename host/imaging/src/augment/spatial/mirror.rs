//! Flips.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::super::check::{Error, Place};
use super::super::random::chance;
use super::orientation::Orientation;
use super::{Move, Moved};

/// Flips each of `axes` on its own with `probability` (batchgeneratorsv2 `spatial/mirroring.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Spatial axes that may be flipped: 0 is z, 1 is y, 2 is x. Prediction may average over flips of these, too.
    pub axes: Vec<usize>,
    /// For each axis.
    pub probability: f64,
}

impl Mirror {
    pub(in super::super) fn draw(&self, rng: &mut impl Rng) -> Orientation {
        let mut flips = Orientation::default();
        for &axis in &self.axes {
            if chance(rng, self.probability) {
                flips.steps[axis].1 = -1;
            }
        }
        flips
    }
}

impl Move for Mirror {
    fn add(&self, moved: &mut Moved, _: [usize; 3], mut rng: &mut dyn Rng) {
        moved.reorient(&self.draw(&mut rng));
    }

    fn check(&self, place: &Place, _: [usize; 3]) -> Result<(), Error> {
        place.probability("probability", self.probability)?;
        place.axes("axes", &self.axes)
    }
}
