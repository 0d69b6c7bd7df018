//! A run as it is asked for.

use crate::cli::RecipeArgs;
use crate::loading::{PipelineChoice, Sampling};
use crate::network::Precision;
use crate::plugin::Plugin;
use crate::train::{Keeping, Watchdogs};
use serde_json::Value;
use std::path::PathBuf;
use tch::Device;

/// What a user decides about training, beyond data set and plugin.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Options of the plugin, a JSON object.
    pub options: Value,
    /// Epochs.
    pub epochs: u64,
    /// Training iterations an epoch.
    pub iterations: u64,
    /// Validation iterations an epoch.
    pub validation_iterations: u64,
    /// Samples a step; `None` as planned.
    pub batch_size: Option<usize>,
    /// Patch; empty as planned.
    pub patch_size: Vec<usize>,
    /// Of weights, batches and augmentation.
    pub seed: u64,
    /// Arithmetic of the network.
    pub precision: Precision,
    /// How weights are moved, as far as the user says.
    pub recipe: RecipeArgs,
    /// What it begins with.
    pub pretrained: Option<Pretrained>,
    /// Coarser levels are supervised, too.
    pub deep_supervision: bool,
    /// Which checkpoints are written.
    pub keeping: Keeping,
    /// What looks after the training.
    pub watchdogs: Watchdogs,
    /// Epochs from one example picture to the next.
    pub examples: Option<u64>,
    /// Steps from one comparison of terms' gradients to the next.
    pub conflicts: Option<u64>,
    /// How patches are varied.
    pub augmentation: PipelineChoice,
    /// Which cases, and how often foreground.
    pub sampling: Sampling,
    /// Label targets whose foreground is sampled.
    pub foreground: Vec<String>,
    /// Where it computes.
    pub device: Device,
    /// Loader threads.
    pub workers: usize,
}

/// Weights of another training that one begins with.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// A model folder, or a checkpoint in it.
    pub path: PathBuf,
    /// Whether heads are taken, too.
    pub heads: bool,
}

/// A run as it is asked for: a plugin, what the user decides, and a place for its folds.
#[derive(Debug)]
pub struct Setup {
    /// Name among the runs that it is compared with; empty where it is alone.
    pub name: String,
    /// The plugin.
    pub plugin: Plugin,
    /// All else.
    pub settings: Settings,
    /// Where its folds are.
    pub folder: PathBuf,
}

/// What is done about a fold that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Refuse,
    /// Go on with it.
    Resume {
        /// Under another plugin, plan or setting, too.
        anyway: bool,
    },
    /// Remove it.
    Overwrite,
}
