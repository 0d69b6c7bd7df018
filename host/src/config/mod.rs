//! What a training computes by, decided: optimiser, schedule, weighting of terms. Plain values with nnU-Net's defaults, named as the literature does.

mod factor_schedule;
mod recipe;
mod schedule;
mod weighting;

pub use factor_schedule::FactorSchedule;
pub use recipe::{OptimiserName, Recipe};
pub use schedule::Schedule;
pub use weighting::{Strategy, Weighting, WeightingArg};
