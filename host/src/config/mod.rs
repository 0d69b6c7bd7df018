//! What a run is asked for, decided: plain values under the field's names, with nnU-Net's defaults.

mod factor_schedule;
mod recipe;
mod schedule;
mod weighting;

pub use factor_schedule::FactorSchedule;
pub use recipe::{OptimiserName, Recipe};
pub use schedule::Schedule;
pub use weighting::{Strategy, Weighting, WeightingArg};
