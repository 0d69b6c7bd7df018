//! The command line: one enum, one variant a subcommand.

use crate::loading::PipelineChoice;
use crate::plan::PlannerKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

const EXAMPLES: &str = "\
Examples:
  host plan-and-preprocess --dataset /data/Dataset004_Hippocampus
  host run --plugin base --dataset /data/Dataset004_Hippocampus
  host run --plugin multi-output --options outputs.json --dataset 4 --fold 0,1,2,3,4
  host run --plugin ./libmine.so --set weight=0.5 --dataset 4 --resume
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

    /// What to do
    #[command(subcommand)]
    pub command: Command,
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
    /// Look at trainer plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print completions for a shell, e.g. `host completions bash`
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Which data set, and where its plans and preprocessed cases are.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// Data set in nnU-Net's format: a folder, a name (Dataset004_Hippocampus) or an id (4)
    #[arg(long, value_name = "PATH|NAME|ID")]
    pub dataset: String,

    /// Where plans and preprocessed cases are; default: nnUNet_preprocessed, else ./preprocessed
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    pub preprocessed: Option<PathBuf>,
}

/// How many cases at once.
#[derive(Args, Clone, Debug, Default)]
pub struct CaseThreads {
    /// Cases that are worked on at the same time; default: nnUNet_def_n_proc, else all cores, 8 at most
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Machine")]
    pub threads: Option<u16>,
}

/// Arguments of `host fingerprint`.
#[derive(Args, Debug)]
pub struct FingerprintArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: DataArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub threads: CaseThreads,

    /// Extract it although it is there
    #[arg(long, help_heading = "Files")]
    pub overwrite: bool,
}

/// How it is planned.
#[derive(Args, Debug)]
pub struct PlannerArgs {
    /// Which of nnU-Net's planners
    #[arg(long, default_value = "default", value_name = "NAME", value_parser = PlannerKind::from_str, help_heading = "Planning")]
    pub planner: PlannerKind,

    /// Name of the plans; default: the planner's, e.g. nnUNetPlans
    #[arg(long, value_name = "NAME", help_heading = "Planning")]
    pub plans: Option<String>,

    /// Memory in GB that the networks may need; default: the planner's. Give such plans a name of their own (--plans)
    #[arg(long, value_name = "GB", help_heading = "Planning")]
    pub gpu_memory: Option<f64>,

    /// Spacing in mm of 3d_fullres, in the axes of the files; default: as planned
    #[arg(long, value_delimiter = ',', value_name = "Z,Y,X", help_heading = "Planning")]
    pub spacing: Vec<f64>,
}

/// Arguments of `host plan`.
#[derive(Args, Debug)]
pub struct PlanArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: DataArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub planner: PlannerArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub threads: CaseThreads,

    /// Replace plans of that name that are nnU-Net's or were edited, and (plan-and-preprocess) cases that are there; added configurations stay
    #[arg(long, help_heading = "Files")]
    pub overwrite: bool,
}

/// Arguments of `host preprocess`.
#[derive(Args, Debug)]
pub struct PreprocessArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: DataArgs,

    /// Name of the plans
    #[arg(long, default_value = "nnUNetPlans", value_name = "NAME")]
    pub plans: String,

    /// Configurations, separated by commas; default: all of the plans
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub configuration: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub threads: CaseThreads,

    /// Preprocess also the cases that are there
    #[arg(long, help_heading = "Files")]
    pub overwrite: bool,
}

/// Arguments of `host plan-and-preprocess`.
#[derive(Args, Debug)]
pub struct PlanAndPreprocessArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub plan: PlanArgs,

    /// Configurations, separated by commas; default: all of the plans
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub configuration: Vec<String>,
}

/// Arguments of `host run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Trainer plugin: an id (base, multi-output, …) or the path of a library
    #[arg(long, value_name = "ID|PATH")]
    pub plugin: String,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: DataArgs,

    /// Configuration of the plans: 2d, 3d_fullres, or one of your own
    #[arg(long, default_value = "3d_fullres", value_name = "NAME")]
    pub configuration: String,

    /// Name of the plans
    #[arg(long, default_value = "nnUNetPlans", value_name = "NAME")]
    pub plans: String,

    /// Folds of the cross-validation, separated by commas, or `all`
    #[arg(long, default_value = "0", value_delimiter = ',', value_name = "N|all")]
    pub fold: Vec<crate::dataset::splits::Fold>,

    /// Options of the plugin: a JSON file
    #[arg(long, value_name = "FILE", help_heading = "Plugin options")]
    pub options: Option<PathBuf>,

    /// One option of the plugin, e.g. outputs.whole.weight=0.5; may be repeated, wins over --options
    #[arg(long = "set", value_name = "KEY=VALUE", help_heading = "Plugin options")]
    pub set: Vec<String>,

    /// Number of epochs
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub epochs: u64,

    /// Training iterations an epoch
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub iterations: u64,

    /// Validation iterations an epoch
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub val_iterations: u64,

    /// Samples a step; default: as planned
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Training")]
    pub batch_size: Option<u64>,

    /// Patch in voxels, e.g. 40,56,40; default: as planned
    #[arg(long, value_delimiter = ',', value_name = "[Z,]Y,X", help_heading = "Training")]
    pub patch_size: Vec<usize>,

    /// Decides initial weights, batches and augmentation
    #[arg(long, default_value_t = 0, help_heading = "Training")]
    pub seed: u64,

    /// Arithmetic of the network
    #[arg(long, value_enum, default_value_t = Precision::Fp32, help_heading = "Training")]
    pub precision: Precision,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub augmentation: AugmentationArgs,

    /// Label targets whose foreground decides where patches are taken
    #[arg(long, default_value = "segmentation", value_delimiter = ',', value_name = "TARGETS", help_heading = "Batches")]
    pub foreground: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub sampling: SamplingArgs,

    /// cpu, cuda or cuda:N; default: the first GPU where CUDA is installed, else the CPU
    #[arg(long, default_value = "auto", help_heading = "Machine")]
    pub device: String,

    /// Threads of libtorch; default: all cores
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Machine")]
    pub threads: Option<u16>,

    /// Threads that load and augment; default: nnUNet_n_proc_DA, else a quarter of the cores
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Machine")]
    pub workers: Option<u16>,

    /// Where results go; default: nnUNet_results, else ./results
    #[arg(long, value_name = "DIR", help_heading = "Files")]
    pub output: Option<PathBuf>,

    /// Added to the plugin's id in the name of the results folder
    #[arg(long, help_heading = "Files")]
    pub name: Option<String>,

    /// Go on with a fold that was begun
    #[arg(long, conflicts_with = "overwrite", help_heading = "Files")]
    pub resume: bool,

    /// Replace a fold that is there
    #[arg(long, help_heading = "Files")]
    pub overwrite: bool,

    /// Only predict and measure the validation cases with the final checkpoint
    #[arg(long, conflicts_with_all = ["resume", "overwrite"], help_heading = "Files")]
    pub validate_only: bool,
}

/// How training patches are varied.
#[derive(Args, Clone, Debug, Default)]
pub struct AugmentationArgs {
    /// default, da5, none, or a JSON file (`host augmentation show` prints one); default: what the plugin asks for, else `default`
    #[arg(long, value_name = "NAME|FILE", help_heading = "Batches")]
    pub augmentation: Option<String>,

    /// One value of the augmentation, e.g. mirror=null, spatial.labels=nearest, intensity.0.probability=0.5; may be repeated
    #[arg(long = "augment", value_name = "KEY=VALUE", help_heading = "Batches")]
    pub changes: Vec<String>,
}

impl AugmentationArgs {
    /// As the loader wants it.
    pub fn choice(&self) -> PipelineChoice {
        PipelineChoice { pipeline: self.augmentation.clone(), changes: self.changes.clone() }
    }
}

/// Which cases are drawn, and how often foreground.
#[derive(Args, Clone, Debug)]
pub struct SamplingArgs {
    /// Share of samples that must show foreground
    #[arg(long, default_value_t = 0.33, value_name = "SHARE", help_heading = "Batches")]
    pub foreground_share: f64,

    /// Which samples of a batch these are
    #[arg(long, value_enum, default_value_t = Oversampling::Last, help_heading = "Batches")]
    pub oversampling: Oversampling,

    /// Samples that must show foreground draw its class first, then a case that shows it: rare classes become as frequent as others
    #[arg(long, help_heading = "Batches")]
    pub class_balanced: bool,

    /// How often cases are drawn, in relation to each other: a JSON file {"case": weight, …}; 1 for those that it does not name
    #[arg(long, value_name = "FILE", help_heading = "Batches")]
    pub case_weights: Option<PathBuf>,
}

/// Which samples of a batch must show foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Oversampling {
    /// The last ones, rounded as nnU-Net does: one of two.
    Last,
    /// Each with this probability.
    Random,
}

/// Arithmetic of trunk and heads; losses are always computed in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// Single precision.
    Fp32,
    /// bfloat16 autocast: about twice as fast on CPUs with AVX512-BF16 or AMX, and on recent GPUs.
    Bf16,
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

/// `host augmentation …`.
#[derive(Debug, Subcommand)]
pub enum AugmentationCommand {
    /// Print an augmentation with all its parameters, as the JSON that `--augmentation FILE` takes
    Show {
        #[command(flatten)]
        #[allow(missing_docs)]
        augmentation: AugmentationArgs,
        /// Patch that it is for: ranges follow from its shape
        #[arg(long, value_delimiter = ',', value_name = "[Z,]Y,X", default_value = "128,128,128")]
        patch_size: Vec<usize>,
    },
    /// Draw patches of a preprocessed case before and after augmentation: image, every target, and both together
    Preview(PreviewArgs),
}

/// Arguments of `host augmentation preview`.
#[derive(Args, Debug)]
pub struct PreviewArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: DataArgs,

    /// Id of the case; default: the first
    #[arg(long, value_name = "ID")]
    pub case: Option<String>,

    /// Number of patches
    #[arg(short = 'n', long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub number: u16,

    /// The picture
    #[arg(long, default_value = "augmentation.png", value_name = "OUT")]
    pub png: PathBuf,

    /// Configuration of the plans
    #[arg(long, default_value = "3d_fullres", value_name = "NAME")]
    pub configuration: String,

    /// Name of the plans
    #[arg(long, default_value = "nnUNetPlans", value_name = "NAME")]
    pub plans: String,

    /// Patch in voxels; default: as planned
    #[arg(long, value_delimiter = ',', value_name = "[Z,]Y,X")]
    pub patch_size: Vec<usize>,

    /// Decides which patches and how they are varied
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub augmentation: AugmentationArgs,

    /// Label targets whose foreground decides where patches are taken
    #[arg(long, default_value = "segmentation", value_delimiter = ',', value_name = "TARGETS", help_heading = "Batches")]
    pub foreground: Vec<String>,
}

/// `host plugin …`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List the plugins in TRAINER_PLUGIN_PATH, beside the host, and in ~/.local/share/trainer-plugins
    List,
    /// Print the manifest of a plugin, and whether it may be loaded here
    Inspect {
        /// An id or the path of a library
        plugin: String,
    },
    /// Print the JSON Schema of a plugin's options; runs the plugin, in a process of its own
    Schema {
        /// An id or the path of a library
        plugin: String,
        /// In this process
        #[arg(long, hide = true)]
        in_process: bool,
    },
}
