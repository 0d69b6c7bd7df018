//! The command line: its subcommands, one file each, and what all of them share.
//!
//! A subcommand is its arguments and what it does, and its line in `subcommands!`; larger ones are folders with their arguments in `args`. `place` is
//! what several of them need to find data sets and results.

mod augmentation;
mod completions;
mod dataset;
mod demo;
mod evaluate;
mod model;
mod place;
mod plugin;
mod predict;
mod prepare;
mod run;
mod runs;

use crate::config::explain_flags;
use crate::environment::Environment;
use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use imaging::io::DEFAULT_MOST_VOXELS;

const EXAMPLES: &str = "\
Examples:
  host plan-and-preprocess --dataset /data/Dataset004_Hippocampus
  host run --plugin base --dataset /data/Dataset004_Hippocampus
  host run --plugin multi-output --options outputs.json --dataset 4 --fold 0,1,2,3,4
  host run --plugin ./libmine.so --set weight=0.5 --dataset 4 --resume
  host run --arm a=base --arm b=multi-output:b.json --set b.outputs.segmentation.weight=2 --dataset 4
  host predict --model results/Dataset004_Hippocampus/base__nnUNetPlans__3d_fullres --input imagesTs --output predictions
  host evaluate labelsTs predictions
  host augmentation preview --dataset 4 --augmentation da5
  host plugin inspect ./libmine.so";

/// Trains nnU-Net-style segmentation networks; network heads and loss come from trainer plugins.
///
/// nnU-Net's variables nnUNet_raw, nnUNet_preprocessed, nnUNet_results and nnUNet_n_proc_DA are honoured; flags win.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    /// More messages (-v debug, -vv trace)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Load only plugins that are pinned (host plugin trust) or ship with the host; TRAINER_LOCKED=1 does the same
    #[arg(long, global = true)]
    pub locked: bool,

    /// Most voxels, times channels, that an image may have, as it is read and at the spacing of the plans
    #[arg(long, global = true, value_name = "N", default_value_t = DEFAULT_MOST_VOXELS, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_voxels: u64,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Reads the command line, or says what is wrong with it and ends the program.
    pub fn of_program() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let mut program = Self::command();
            program.build();
            let word = std::env::args_os().skip(1).find(|word| !word.as_encoded_bytes().starts_with(b"-"));
            let is_run = word.is_some_and(|word| word == "run");
            match explain_flags(&error, program.find_subcommand("run").filter(|_| is_run)) {
                Some(reason) => {
                    eprintln!("error: {reason}");
                    std::process::exit(error.exit_code())
                }
                None => error.exit(),
            }
        })
    }
}

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// Stopped by Ctrl-C after saving.
    Interrupted,
}

/// Makes the enumeration of all subcommands, and carries them out.
macro_rules! subcommands {
    ($($(#[$about:meta])+ $name:ident($arguments:ty) => $execute:path),+ $(,)?) => {
        /// Subcommands.
        #[derive(Debug, Subcommand)]
        pub enum Command {
            $($(#[$about])+ $name($arguments)),+
        }

        /// Does what the command line says.
        pub fn execute(cli: Cli, env: &Environment) -> Result<Outcome> {
            match cli.command {
                $(Command::$name(arguments) => $execute(&arguments, env)),+
            }
        }
    };
}

subcommands! {
    /// Plan, preprocess, train and validate: whatever has not been done yet
    Run(Box<run::RunArgs>) => run::execute,
    /// Make a small synthetic data set, train on it, predict an unseen case and show its picture (under three minutes)
    Demo(demo::DemoArgs) => demo::execute,
    /// Extract the fingerprint of a data set: shapes, spacings, intensities
    Fingerprint(prepare::FingerprintArgs) => prepare::fingerprint,
    /// Plan: spacing, patch, network and batch size of every configuration
    Plan(prepare::PlanArgs) => prepare::plan,
    /// Bring all cases to the spacing of the plans
    Preprocess(prepare::PreprocessArgs) => prepare::preprocess,
    /// Plan, then preprocess every configuration
    PlanAndPreprocess(prepare::PlanAndPreprocessArgs) => prepare::plan_and_preprocess,
    /// Check a data set, or make one from another format
    #[command(subcommand)]
    Dataset(dataset::DatasetCommand) => dataset::execute,
    /// See how training patches are varied
    #[command(subcommand)]
    Augmentation(augmentation::AugmentationCommand) => augmentation::execute,
    /// Predict images with a trained model, ours or nnU-Net's
    Predict(Box<predict::PredictArgs>) => predict::execute,
    /// Bring trained models from one program to the other
    #[command(subcommand)]
    Model(model::ModelCommand) => model::execute,
    /// Compare predictions with references: overlap, surfaces, errors, with confidence intervals
    Evaluate(evaluate::EvaluateArgs) => evaluate::execute,
    /// See what trainings have come to, and compare them
    #[command(subcommand)]
    Runs(runs::RunsCommand) => runs::execute,
    /// Write, look at, check trainer plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand) => plugin::execute,
    /// Print completions for a shell, e.g. `host completions bash`
    Completions(completions::CompletionsArgs) => completions::execute,
}
