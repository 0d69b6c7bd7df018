//! What a run is asked for. Each setting is one field of one struct here: its name, type, default, bounds and text are written there and nowhere else.
//!
//! [`schema()`] gathers them; from it come the flags of the command line ([`Given`]), the JSON that `--config` reads, what is refused, and what `host run
//! --schema` prints. What was asked for in several places is a list of [`Layers`], of which later ones win:
//!
//! ```text
//! defaults ─ the plugin's manifest ─ --config FILE ─ environment ─ --options ─ flags and --set ─ the arm's own      JSON by setting
//!     └──────────────────────────────── Layers ─ merged, checked ─ Config ─ decided (`Recipe`, …)
//! ```
//! What is left open after all of them (batch size, patch, learning rate) is as planned, or what its neighbours make of it.

mod factor_schedule;
mod flags;
mod layers;
mod optimiser;
mod recipe;
mod run;
mod schedule;
mod schema;
#[cfg(test)]
mod tests;
mod upkeep;
mod weighting;

pub use factor_schedule::FactorSchedule;
pub use flags::{Arguments, Given, explain_flags, words};
pub use layers::{Error, Layer, Layers, Missing};
pub use optimiser::{Asked, Common, ScheduleName};
pub use recipe::Recipe;
pub use run::{
    ArmSettings, Augmenting, Config, Data, Foreground, Machine, Oversampling, PlanChoice, PrecisionName, Results, Samples, TrainerChoice,
    Training, Validation,
};
pub use schedule::Schedule;
pub use schema::schema;
pub use upkeep::{OnNonfinite, Upkeep};
pub use weighting::{Weighting, WeightingArg};
