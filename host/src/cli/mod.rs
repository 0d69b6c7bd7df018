//! The command line: one enum, one variant a subcommand; the arguments of larger ones are files of their own.

mod arms;
mod augmentation;
mod evaluate;
mod model;
mod plugin;
mod predict;
mod prepare;
mod run;
mod runs;
mod trust;

use crate::config::explain_flags;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use imaging::io::DEFAULT_MOST_VOXELS;
use std::path::PathBuf;

pub use arms::{ArmArg, ArmTraining, ArmsArgs};
pub use augmentation::{AugmentationCommand, PreviewArgs};
pub use evaluate::EvaluateArgs;
pub use model::{ExportArgs, FormatName, ImportArgs, ModelCommand};
pub use plugin::{BenchArgs, CheckArgs, NewArgs, PluginCommand, SubjectArgs};
pub use predict::{CheckpointName, FOREGROUND, Part, PredictArgs, Tta};
pub use prepare::{FingerprintArgs, PlanAndPreprocessArgs, PlanArgs, PlannerArgs, PreprocessArgs};
pub use run::{ExistingArgs, RunArgs};
pub use runs::{ResultsArgs, RunsCommand};
pub use trust::TrustCommand;

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

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Plan, preprocess, train and validate: whatever has not been done yet
    Run(Box<RunArgs>),
    /// Make a small synthetic data set, train on it, predict an unseen case and show its picture (under three minutes)
    Demo(DemoArgs),
    /// Extract the fingerprint of a data set: shapes, spacings, intensities
    Fingerprint(FingerprintArgs),
    /// Plan: spacing, patch, network and batch size of every configuration
    Plan(PlanArgs),
    /// Bring all cases to the spacing of the plans
    Preprocess(PreprocessArgs),
    /// Plan, then preprocess every configuration
    PlanAndPreprocess(PlanAndPreprocessArgs),
    /// Check a data set, or make one from another format
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// See how training patches are varied
    #[command(subcommand)]
    Augmentation(AugmentationCommand),
    /// Predict images with a trained model, ours or nnU-Net's
    Predict(Box<PredictArgs>),
    /// Bring trained models from one program to the other
    #[command(subcommand)]
    Model(ModelCommand),
    /// Compare predictions with references: overlap, surfaces, errors, with confidence intervals
    Evaluate(EvaluateArgs),
    /// See what trainings have come to, and compare them
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Write, look at, check trainer plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print completions for a shell, e.g. `host completions bash`
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How many cases at once.
#[derive(Args, Clone, Debug, Default)]
pub struct CaseThreads {
    /// Cases that are worked on at the same time; default: nnUNet_def_n_proc, else all cores, 8 at most
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Machine")]
    pub threads: Option<u16>,
}

/// Arguments of `host demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Where the data set and the results go
    #[arg(long, default_value = "demo", value_name = "DIR")]
    pub output: PathBuf,

    /// Seed of data and training
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Number of epochs
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub epochs: u64,

    /// Training iterations an epoch
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub iterations: u64,
}

/// `host dataset …`.
#[derive(Debug, Subcommand)]
pub enum DatasetCommand {
    /// Open every file and report all that is wrong; exit code 1 if there is an error
    Check {
        /// Data set in nnU-Net's format: a folder, a name (Dataset004_Hippocampus) or an id (4)
        #[arg(long, value_name = "PATH|NAME|ID")]
        dataset: String,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        #[allow(missing_docs)]
        threads: CaseThreads,
    },
    /// Bring a data set of another format to nnU-Net's; nothing that exists is replaced
    Convert {
        /// Format of the input
        #[arg(long, value_enum)]
        from: SourceFormat,
        /// Folder of the data set, e.g. Task04_Hippocampus
        #[arg(long, value_name = "DIR")]
        input: PathBuf,
        /// Where data sets are; default: nnUNet_raw
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
        /// Number of the new data set; default: that of the input
        #[arg(long, value_name = "N")]
        id: Option<u16>,
        #[command(flatten)]
        #[allow(missing_docs)]
        threads: CaseThreads,
    },
}

/// Formats that can be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SourceFormat {
    /// Medical Segmentation Decathlon: a folder such as Task04_Hippocampus
    Msd,
}
