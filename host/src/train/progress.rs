//! Where a training stands, and how often that is kept.

use super::TermSums;
use super::loss_scale::LossScale;
use super::shared_layer::Cosines;
use crate::weightings;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Where training stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Epoch to go on with.
    pub epoch: u64,
    /// Iteration of that epoch to go on with; not 0 in the middle of one.
    pub iteration: u64,
    /// Optimiser steps so far.
    pub updates: u64,
    /// Whether the plugin has been told that the epoch began.
    pub epoch_started: bool,
    /// Sums over the epoch's iterations so far.
    pub sums: TermSums,
    /// Seconds spent on the epoch so far.
    pub seconds: f64,
    /// Exponential moving average of every output's metric.
    pub ema: IndexMap<String, f64>,
    /// Sum of the epoch's gradient norms before clipping.
    pub gradient_norms: f64,
    /// Steps of the epoch that were skipped, since loss or gradients were not finite.
    pub skipped: u64,
    /// Skipped one after the other, up to now.
    pub skipped_in_a_row: u64,
    /// What the weighting of terms remembers. Not in the oldest checkpoints.
    #[serde(default)]
    pub weighting: weightings::State,
    /// Cosines between gradients of terms, in the epoch so far. Not in the oldest checkpoints.
    #[serde(default)]
    pub cosines: Cosines,
    /// Factor of the loss in float16.
    pub loss_scale: LossScale,
    /// Best EMA score so far, and its epoch.
    pub best: Option<(f64, u64)>,
    /// Early stopping has ended the training.
    pub stopped_early: bool,
    /// What each learned weight of a term began with. Not in the oldest checkpoints.
    #[serde(default)]
    pub first_weights: IndexMap<String, f64>,
    /// Warnings that were given already.
    pub warned: Vec<String>,
    /// Lengths of `metrics.jsonl`, `log.txt` and the TensorBoard events: what comes after is cut off on resuming.
    pub log_lengths: [u64; 3],
}

impl Progress {
    /// Notes that `warning` is said. Returns whether it is said for the first time.
    pub(super) fn note_warning(&mut self, warning: &str) -> bool {
        let new = self.warned.iter().all(|earlier| earlier != warning);
        if new {
            self.warned.push(warning.to_owned());
        }
        new
    }
}
