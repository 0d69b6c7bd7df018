//! A run as it is asked for.

use crate::config::{Config, Recipe};
use crate::loading::Sampling;
use crate::network::{EngineChoice, Precision};
use crate::plugin::Plugin;
use serde_json::{Map, Value};
use std::path::PathBuf;
use tch::Device;

/// What a user decides about training, beyond data set and plugin.
#[derive(Clone, Debug)]
pub struct Settings {
    /// As it was asked for.
    pub config: Config,
    /// What the same run, or the same comparison, is asked for with: `--config` takes it.
    pub repeat: Map<String, Value>,
    /// How weights are moved.
    pub recipe: Recipe,
    /// Arithmetic of the network.
    pub precision: Precision,
    /// What computes the trunk in the final validation.
    pub engine: EngineChoice,
    /// Which cases, and how often foreground.
    pub sampling: Sampling,
    /// Where it computes.
    pub device: Device,
    /// Loader threads.
    pub workers: usize,
}

impl Settings {
    /// Options of the plugin, a JSON object.
    pub fn options(&self) -> Value {
        Value::Object(self.config.trainer.options.clone())
    }
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
