//! Arguments of `host plugin …`.

use super::trust::TrustCommand;
use crate::plugin::Language;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `host plugin …`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the plugins in TRAINER_PLUGIN_PATH, beside the host, and in ~/.local/share/trainer-plugins; runs none of them
    List,
    /// Print the manifest of a plugin, and whether it may be loaded here; does not run it
    Inspect {
        /// An id or the path of a library
        plugin: String,
    },
    /// Print the JSON Schema of a plugin's options; runs the plugin, in a process of its own
    Schema {
        /// An id or the path of a library
        plugin: String,
    },
    /// Write a new plugin that builds, has tests, and passes its check as it is
    New(NewArgs),
    /// Print what a plugin must be built against, for a shell: eval "$(host plugin env)"
    Env,
    /// Check case by case whether a plugin keeps the contract, each in a process of its own; exit code 1 if it does not
    Check(CheckArgs),
    /// Time heads, loss and backward of a plugin, beside those of `base`; in processes of their own
    Bench(BenchArgs),
    /// Pin plugins that you trust: --locked runs no others
    #[command(subcommand)]
    Trust(TrustCommand),
}

/// Arguments of `host plugin new`.
#[derive(Args, Debug)]
pub struct NewArgs {
    /// Its id, e.g. my-loss; the folder is called the same
    pub name: String,

    /// In which language
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub lang: Language,

    /// Path or version of the plugin-api that a Rust plugin depends on; default: that of this program
    #[arg(long, value_name = "PATH|VERSION")]
    pub plugin_api: Option<String>,

    /// Where the folder is made
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub output: PathBuf,
}

/// A plugin with its options.
#[derive(Args, Clone, Debug)]
pub struct SubjectArgs {
    /// An id or the path of a library
    pub plugin: String,

    /// Options of the plugin (JSON); default: the example in its schema, else none
    #[arg(long, value_name = "FILE")]
    pub options: Option<PathBuf>,

    /// One option, e.g. `weight=0.5`; may be repeated, wins over the file
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Decides weights and everything that is made up
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// Arguments of `host plugin bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub subject: SubjectArgs,

    /// Recorded outputs and targets (safetensors: outputs.NAME.LEVEL, targets.NAME.LEVEL); default: made-up ones of the size of Hippocampus
    #[arg(long, value_name = "FILE")]
    pub fixture: Option<PathBuf>,

    /// Print the times as JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `host plugin check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub subject: SubjectArgs,

    /// A data set whose targets the trainer is told of; default: a made-up one with a target of every kind
    #[arg(long, value_name = "PATH|NAME|ID")]
    pub dataset: Option<String>,

    /// These cases only
    #[arg(long, value_delimiter = ',', value_name = "CASES")]
    pub only: Vec<String>,

    /// Seconds that a case may take, waiting for a processor not counted; one that takes longer hangs if, run again alone, it takes ten times as long
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..), value_name = "SECONDS")]
    pub time_limit: u64,

    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}
