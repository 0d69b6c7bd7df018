//! What looks after a training: checkpoints, watchdogs, pictures.

use super::schema::Under;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// What looks after a training.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(transform = Under("Checkpoints and watchdogs"))]
pub struct Upkeep {
    /// Epochs from one checkpoint to the next
    #[schemars(range(min = 1), extend("default" = 1, "x-value" = "N"))]
    pub checkpoint_every: u64,

    /// Minutes from one checkpoint to the next, in the middle of epochs, too; 0: never there
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 15, "x-value" = "M"))]
    pub checkpoint_minutes: f64,

    /// How many checkpoints are kept beside latest, best and final
    #[schemars(extend("default" = 0, "x-value" = "K"))]
    pub keep_last: usize,

    /// What is done about a loss or gradient that is NaN or infinite
    #[schemars(extend("default" = "stop", "x-value" = "POLICY"))]
    pub on_nonfinite: OnNonfinite,

    /// Say so when the best epoch is so many epochs ago; 0: never
    #[schemars(extend("default" = 100, "x-value" = "N"))]
    pub plateau: u64,

    /// End the training when the best epoch is so many epochs ago; 0: never
    #[schemars(extend("default" = 0, "x-value" = "N"))]
    pub early_stop: u64,

    /// Compare the gradients of terms at the last layer that they share every so many steps: do they pull against each other? 0: never
    #[schemars(extend("default" = 0, "x-value" = "N"))]
    pub conflicts: u64,

    /// Epochs from one picture of a validation sample to the next; 0: none
    #[schemars(extend("default" = 25, "x-value" = "N"))]
    pub examples: u64,
}

/// What is done about a loss or gradient that is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnNonfinite {
    /// End the run with an error that names the cases; checkpoints from before are kept
    Stop,
    /// Leave the step out, say so, and go on
    Skip,
    /// End the run, and write the batch beside the logs
    Dump,
}

impl Upkeep {
    /// Time from one checkpoint to the next within epochs.
    pub fn interval(&self) -> Option<Duration> {
        (self.checkpoint_minutes > 0.0).then(|| Duration::from_secs_f64(self.checkpoint_minutes * 60.0))
    }
}
