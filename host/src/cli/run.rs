//! Arguments of `host run`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::DataArgs;
use super::arms::ArmsArgs;
use super::augmentation::AugmentationArgs;
use super::recipe::RecipeArgs;
use crate::train::OnNonfinite;
use data::name::Name;

/// Arguments of `host run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Trainer plugin: an id (base, multi-output, …) or the path of a library
    #[arg(long, value_name = "ID|PATH", required_unless_present = "arms", conflicts_with = "arms")]
    pub plugin: Option<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub comparison: ArmsArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: DataArgs,

    /// Configuration of the plans: 2d, 3d_fullres, or one of your own
    #[arg(long, default_value = "3d_fullres", value_name = "NAME")]
    pub configuration: String,

    /// Name of the plans
    #[arg(long, default_value = "nnUNetPlans", value_name = "NAME")]
    pub plans: Name,

    /// Folds of the cross-validation, separated by commas, or `all`
    #[arg(long, default_value = "0", value_delimiter = ',', value_name = "N|all")]
    pub fold: Vec<data::dataset::splits::Fold>,

    /// Options of the plugin: a JSON file
    #[arg(long, value_name = "FILE", conflicts_with = "arms", help_heading = "Plugin options")]
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
    #[arg(long, value_enum, default_value_t = PrecisionName::Auto, help_heading = "Training")]
    pub precision: PrecisionName,

    /// Begin with the weights of a model, ours or nnU-Net's: its folder, where it has one fold, or a checkpoint in it. Heads begin anew
    #[arg(long, value_name = "DIR|FILE", help_heading = "Training")]
    pub pretrained: Option<PathBuf>,

    /// Begin with its heads, too, as far as they have the same names and shapes
    #[arg(long, requires = "pretrained", help_heading = "Training")]
    pub pretrained_heads: bool,

    /// Supervise the finest level alone
    #[arg(long, help_heading = "Training")]
    pub no_deep_supervision: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub recipe: RecipeArgs,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub training: UpkeepArgs,

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
    pub name: Option<Name>,

    /// Go on with a fold that was begun
    #[arg(long, conflicts_with = "overwrite", help_heading = "Files")]
    pub resume: bool,

    /// The same with a checkpoint of another plugin, plan or setting
    #[arg(long, conflicts_with = "overwrite", help_heading = "Files")]
    pub resume_anyway: bool,

    /// Replace a fold that is there
    #[arg(long, help_heading = "Files")]
    pub overwrite: bool,

    /// Only predict and measure the validation cases with the final checkpoint
    #[arg(long, conflicts_with_all = ["resume", "resume_anyway", "overwrite"], help_heading = "Files")]
    pub validate_only: bool,

    /// Predict and measure only so many validation cases, the first of the split
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), value_name = "N", help_heading = "Validation")]
    pub val_cases: Option<u64>,

    /// Do not predict the validation cases once the training is done
    #[arg(long, conflicts_with_all = ["validate_only", "val_cases"], help_heading = "Validation")]
    pub no_validation: bool,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PrecisionName {
    /// bf16 on CPUs with AVX512-BF16 and on recent GPUs, fp16 on older GPUs, else fp32.
    #[default]
    Auto,
    /// Single precision.
    Fp32,
    /// bfloat16 autocast: about twice as fast where the machine computes it natively.
    Bf16,
    /// float16 autocast with a scaled loss.
    Fp16,
}

/// What looks after a training.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Checkpoints and watchdogs")]
pub struct UpkeepArgs {
    /// Epochs from one checkpoint to the next
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub checkpoint_every: u64,

    /// Minutes from one checkpoint to the next, in the middle of epochs, too; 0: never there
    #[arg(long, default_value_t = 15.0, value_parser = minutes, value_name = "M")]
    pub checkpoint_minutes: f64,

    /// How many checkpoints are kept beside latest, best and final
    #[arg(long, default_value_t = 0, value_name = "K")]
    pub keep_last: usize,

    /// What is done about a loss or gradient that is NaN or infinite
    #[arg(long, value_enum, default_value_t = OnNonfinite::Stop, value_name = "POLICY")]
    pub on_nonfinite: OnNonfinite,

    /// Say so when the best epoch is so many epochs ago; 0: never
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub plateau: u64,

    /// End the training when the best epoch is so many epochs ago; 0: never
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub early_stop: u64,

    /// Compare the gradients of terms at the last layer that they share every so many steps: do they pull against each other? 0: never
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub conflicts: u64,

    /// Epochs from one picture of a validation sample to the next; 0: none
    #[arg(long, default_value_t = 25, value_name = "N")]
    pub examples: u64,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| (0.0..1e6).contains(minutes));
    minutes.ok_or_else(|| "expected a number of at least 0".to_owned())
}
