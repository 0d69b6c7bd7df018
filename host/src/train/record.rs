//! What an epoch leaves in `metrics.jsonl`.

use super::TermMean;
use indexmap::IndexMap;
use serde::Serialize;

/// One line of `metrics.jsonl`. NaN is written as `null`.
#[derive(Debug, Serialize)]
pub struct EpochRecord {
    /// From 0.
    pub epoch: u64,
    /// Learning rate of the epoch.
    pub learning_rate: f64,
    /// Training terms by name: mean value, unweighted and weighted.
    pub train: IndexMap<String, TermMean>,
    /// Their weighted sum.
    pub train_loss: f64,
    /// Validation terms.
    pub validation: IndexMap<String, TermMean>,
    /// Their weighted sum.
    pub validation_loss: f64,
    /// Online metrics by output, then by name.
    pub metrics: IndexMap<String, IndexMap<String, f64>>,
    /// Moving average of every output's first metric.
    pub ema: IndexMap<String, f64>,
    /// Seconds of the epoch (a time: differs from run to run).
    pub seconds: f64,
    /// Of these, spent waiting for batches (a time).
    pub data_wait: f64,
    /// What all workers together took to read what its batches show from the disk (a time).
    pub data_read: f64,
    /// To decompress it (a time).
    pub data_decode: f64,
    /// And to make patches and targets of it (a time).
    pub data_augment: f64,
}
