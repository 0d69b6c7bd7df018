//! Arguments of `host run`: its settings, and what is done about runs that are there.

use std::path::PathBuf;

use clap::Args;

use super::arms::ArmsArgs;
use crate::config::{Config, Given};

/// Arguments of `host run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub settings: Given<Config>,

    /// Settings from a JSON file, by the names of their flags (learning_rate), or of an earlier run from its debug.json; flags win, but not over what an arm says for itself
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print the JSON Schema of all settings
    #[arg(long)]
    pub schema: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub comparison: ArmsArgs,

    /// Options of the plugin: a JSON file
    #[arg(long, value_name = "FILE", conflicts_with = "arm", help_heading = "Plugin options")]
    pub options: Option<PathBuf>,

    /// One option of the plugin, e.g. outputs.whole.weight=0.5; may be repeated, wins over --options
    #[arg(long = "set", value_name = "KEY=VALUE", help_heading = "Plugin options")]
    pub set: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub existing: ExistingArgs,
}

/// What is done about a fold that is there.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Files")]
pub struct ExistingArgs {
    /// Go on with a fold that was begun
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,

    /// The same with a checkpoint of another plugin, plan or setting
    #[arg(long, conflicts_with = "overwrite")]
    pub resume_anyway: bool,

    /// Replace a fold that is there
    #[arg(long)]
    pub overwrite: bool,

    /// Only predict and measure the validation cases with the final checkpoint
    #[arg(long, conflicts_with_all = ["resume", "resume_anyway", "overwrite", "no_validation"])]
    pub validate_only: bool,
}
