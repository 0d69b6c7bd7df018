//! What an epoch leaves in `metrics.jsonl`, and how a person reads it.

use super::format_duration;
use indexmap::IndexMap;
use plugin_api::task::nullable;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line of `metrics.jsonl`: an epoch. Fields with `"x-varies": true` are times or the like and differ from run to run; all others are the
/// same, to the last digit, however often a run was killed and resumed. A number that is not finite is `null`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EpochRecord {
    /// From 0.
    pub epoch: u64,
    /// Of the whole run.
    pub epochs: u64,
    /// Learning rate of the epoch.
    pub learning_rate: f64,
    /// Samples of all training batches.
    #[serde(default)]
    pub samples: u64,
    /// Training terms by name: mean value, unweighted and weighted.
    pub train: IndexMap<String, TermMean>,
    /// Their weighted sum.
    #[serde(deserialize_with = "nullable::number")]
    pub train_loss: f64,
    /// Mean norm of all gradients together before clipping.
    #[serde(deserialize_with = "nullable::number")]
    pub gradient_norm: f64,
    /// Steps left out, since loss or gradients were not finite.
    pub skipped: u64,
    /// Validation terms.
    pub validation: IndexMap<String, TermMean>,
    /// Their weighted sum.
    #[serde(deserialize_with = "nullable::number")]
    pub validation_loss: f64,
    /// Mean cosine between the gradients of two terms at the last layer that they share, by pair `first·second`, as far as it was looked at.
    #[serde(default, deserialize_with = "nullable::numbers")]
    pub cosines: IndexMap<String, f64>,
    /// Online metrics by output, then by name.
    #[serde(deserialize_with = "nullable::tables")]
    pub metrics: IndexMap<String, IndexMap<String, f64>>,
    /// Moving average of every output's first metric.
    #[serde(deserialize_with = "nullable::numbers")]
    pub ema: IndexMap<String, f64>,
    /// Whether it was the best epoch so far, by the moving average of the first output's first metric.
    pub best: bool,
    /// Seconds of the epoch.
    #[schemars(extend("x-varies" = true))]
    pub seconds: f64,
    /// Of these, spent waiting for batches.
    #[schemars(extend("x-varies" = true))]
    pub data_wait: f64,
    /// What all workers together took to read what its batches show from the disk.
    #[schemars(extend("x-varies" = true))]
    pub data_read: f64,
    /// To decompress it.
    #[schemars(extend("x-varies" = true))]
    pub data_decode: f64,
    /// And to make patches and targets of it.
    #[schemars(extend("x-varies" = true))]
    pub data_augment: f64,
    /// Memory of the program at the end of the epoch, without its libraries and views of files, MiB.
    #[schemars(extend("x-varies" = true))]
    pub memory: f64,
    /// What of it host, libtorch and plugin had allocated, to the byte, so that even a small leak shows; 0 in older records, and where
    /// another allocator stands in for glibc's.
    #[schemars(extend("x-varies" = true))]
    #[serde(default)]
    pub allocated: f64,
}

/// Means of one term over an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TermMean {
    /// Unweighted.
    #[serde(deserialize_with = "nullable::number")]
    pub value: f64,
    /// weight · value.
    #[serde(deserialize_with = "nullable::number")]
    pub weighted: f64,
    /// The weight.
    #[serde(default = "not_told", deserialize_with = "nullable::number")]
    pub weight: f64,
    /// Samples that it was about; with targets that cases may lack, fewer than there were.
    #[serde(default)]
    pub samples: u64,
}

fn not_told() -> f64 {
    f64::NAN
}

impl EpochRecord {
    /// As lines for the console.
    pub fn lines(&self) -> Vec<String> {
        let Self { epoch, epochs, learning_rate, data_wait, data_read, data_decode, data_augment, .. } = self;
        let mut lines = vec![format!(
            "Epoch {epoch} of {epochs}: learning rate {learning_rate:.5}, {}, waited {data_wait:.1} s for data \
             (workers: {data_read:.1} s reading, {data_decode:.1} s decompressing, {data_augment:.1} s augmenting)",
            format_duration(self.seconds)
        )];
        let (train, validation) = (self.train_loss, self.validation_loss);
        lines.push(format!("  loss            train {train:8.4}   validation {validation:8.4}"));
        let all_samples = self.samples;
        for (name, mean) in &self.train {
            let validation = self.validation.get(name).map_or(f64::NAN, |mean| mean.value);
            let TermMean { value, weighted, weight, samples } = mean;
            let few = if (1..all_samples).contains(samples) { format!(", {samples} of {all_samples} samples") } else { String::new() };
            lines.push(format!(
                "  {name:<15} train {value:8.4}   validation {validation:8.4}   weighted {weighted:8.4} (weight {weight:.4}{few})"
            ));
        }
        for (pair, cosine) in &self.cosines {
            let conflict = if *cosine < 0.0 { ": they pull against each other" } else { "" };
            lines.push(format!("  gradients of {pair}: mean cosine {cosine:.3}{conflict}"));
        }
        for (output, values) in &self.metrics {
            let values: Vec<String> = values.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
            let ema = self.ema.get(output).map_or_else(String::new, |ema| format!("   moving average {ema:.4}"));
            lines.push(format!("  {output:<15} {}{ema}", values.join("  ")));
        }
        if self.skipped > 0 {
            lines.push(format!("  {} steps were left out, since loss or gradients were not finite", self.skipped));
        }
        lines
    }

    /// All numbers by a name of their own, such as `train/parts` or `metrics/parts/dice`, in their order.
    pub fn numbers(&self) -> Vec<(String, f64)> {
        let mut all = vec![("train/loss".to_owned(), self.train_loss), ("validation/loss".to_owned(), self.validation_loss)];
        for (phase, terms) in [("train", &self.train), ("validation", &self.validation)] {
            all.extend(terms.iter().map(|(name, mean)| (format!("{phase}/{name}"), mean.value)));
        }
        all.extend(self.train.iter().map(|(name, mean)| (format!("weight/{name}"), mean.weight)));
        all.extend(self.cosines.iter().map(|(pair, cosine)| (format!("cosine/{pair}"), *cosine)));
        for (output, values) in &self.metrics {
            all.extend(values.iter().map(|(name, value)| (format!("metrics/{output}/{name}"), *value)));
        }
        all.extend(self.ema.iter().map(|(output, value)| (format!("moving_average/{output}"), *value)));
        let further = [
            ("learning_rate", self.learning_rate),
            ("gradient_norm", self.gradient_norm),
            ("seconds", self.seconds),
            ("data_wait", self.data_wait),
            ("memory", self.memory),
        ];
        all.extend(further.map(|(name, value)| (name.to_owned(), value)));
        all
    }
}
