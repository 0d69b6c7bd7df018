//! The settings of `host run`, but for those of the optimiser and of what looks after a training.

use super::optimiser::Asked;
use super::schema::Under;
use super::upkeep::Upkeep;
use crate::network::EngineName;
use clap::ValueEnum;
use data::dataset::splits::Fold;
use data::name::Name;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// All settings of a run, or of several that are compared.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(title = "host run", extend("additionalProperties" = false))]
pub struct Config {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub trainer: TrainerChoice,

    /// Several runs instead of one, by name, and what each is asked for beside the rest
    #[schemars(
        with = "IndexMap<String, ArmSettings>",
        extend("default" = {}, "propertyNames" = {"pattern": "^[A-Za-z0-9_-]+$"}, "x-flag" = false, "x-layers" = true)
    )]
    pub arms: IndexMap<String, Map<String, Value>>,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub data: Data,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub planned: PlanChoice,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub training: Training,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub optimiser: Asked,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub upkeep: Upkeep,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub augmenting: Augmenting,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub samples: Samples,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub machine: Machine,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub results: Results,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub validation: Validation,
}

/// Which trainer.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct TrainerChoice {
    /// Trainer plugin: an id (base, multi-output, …) or the path of a library
    #[schemars(extend("x-value" = "ID|PATH"))]
    pub plugin: Option<String>,

    /// Options of the plugin, which `host plugin schema` describes
    #[schemars(extend("default" = {}, "x-flag" = false))]
    pub options: Map<String, Value>,
}

/// What one of several runs is asked for beside the rest.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(extend("additionalProperties" = false))]
pub struct ArmSettings {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub trainer: TrainerChoice,

    #[serde(flatten)]
    #[allow(missing_docs)]
    pub optimiser: Asked,
}

/// Which data set, and where its plans and preprocessed cases are.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct Data {
    /// Data set in nnU-Net's format: a folder, a name (Dataset004_Hippocampus) or an id (4)
    #[schemars(extend("x-value" = "PATH|NAME|ID"))]
    pub dataset: String,

    /// Where plans and preprocessed cases are; default: nnUNet_preprocessed, else ./preprocessed
    #[schemars(length(min = 1), extend("x-value" = "DIR", "x-heading" = "Files"))]
    pub preprocessed: Option<PathBuf>,
}

/// Which of the plans.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub struct PlanChoice {
    /// Configuration of the plans: 2d, 3d_fullres, or one of your own
    #[schemars(extend("default" = "3d_fullres", "x-value" = "NAME"))]
    pub configuration: String,

    /// Name of the plans
    #[schemars(with = "String", extend("default" = "nnUNetPlans", "x-value" = "NAME"))]
    pub plans: Name,
}

/// What is trained, and for how long.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(transform = Under("Training"))]
pub struct Training {
    /// Folds of the cross-validation, separated by commas, or `all`
    #[schemars(with = "Vec<String>", length(min = 1), extend("items" = {"type": ["integer", "string"]}, "default" = ["0"], "x-value" = "N|all"))]
    pub fold: Vec<Fold>,

    /// Number of epochs
    #[schemars(range(min = 1), extend("default" = 1000))]
    pub epochs: u64,

    /// Training iterations an epoch
    #[schemars(range(min = 1), extend("default" = 250))]
    pub iterations: u64,

    /// Validation iterations an epoch
    #[schemars(range(min = 1), extend("default" = 50))]
    pub val_iterations: u64,

    /// Samples a step; default: as planned
    #[schemars(range(min = 1))]
    pub batch_size: Option<usize>,

    /// Patch in voxels, e.g. 40,56,40; default: as planned
    #[schemars(extend("default" = [], "x-value" = "[Z,]Y,X"))]
    pub patch_size: Vec<usize>,

    /// Decides initial weights, batches and augmentation
    #[schemars(extend("default" = 0))]
    pub seed: u64,

    /// Arithmetic of the network
    #[schemars(extend("default" = "auto"))]
    pub precision: PrecisionName,

    /// Begin with the weights of a model, ours or nnU-Net's: its folder, where it has one fold, or a checkpoint in it. Heads begin anew
    #[schemars(length(min = 1), extend("x-value" = "DIR|FILE"))]
    pub pretrained: Option<PathBuf>,

    /// Begin with its heads, too, as far as they have the same names and shapes
    #[schemars(extend("default" = false, "x-with" = ["pretrained"]))]
    pub pretrained_heads: bool,

    /// Supervise the finest level alone
    #[schemars(extend("default" = false))]
    pub no_deep_supervision: bool,
}

/// Arithmetic of trunk and heads; losses are always computed in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PrecisionName {
    /// bf16 on CPUs with AVX512-BF16 and on recent GPUs, fp16 on older GPUs, else fp32
    Auto,
    /// Single precision
    Fp32,
    /// bfloat16 autocast: about twice as fast where the machine computes it natively
    Bf16,
    /// float16 autocast with a scaled loss
    Fp16,
}

/// How training patches are varied.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(transform = Under("Batches"))]
pub struct Augmenting {
    /// default, da5, none, or a JSON file (`host augmentation show` prints one); default: what the plugin asks for, else `default`
    #[schemars(extend("x-value" = "NAME|FILE"))]
    pub augmentation: Option<String>,

    /// One value of the augmentation, e.g. mirror=null, spatial.labels=nearest, intensity.0.probability=0.5; may be repeated
    #[schemars(extend("default" = [], "x-value" = "KEY=VALUE", "x-repeated" = true))]
    pub augment: Vec<String>,
}

/// Where foreground is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(transform = Under("Batches"))]
pub struct Foreground {
    /// Label targets whose foreground decides where patches are taken
    #[schemars(length(min = 1), extend("default" = ["segmentation"], "x-value" = "TARGETS"))]
    pub foreground: Vec<String>,
}

/// Which cases are drawn, and how often foreground.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(transform = Under("Batches"))]
pub struct Samples {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub foreground: Foreground,

    /// Share of samples that must show foreground
    #[schemars(range(min = 0, max = 1), extend("default" = 0.33, "x-value" = "SHARE"))]
    pub foreground_share: f64,

    /// Which samples of a batch these are
    #[schemars(extend("default" = "last"))]
    pub oversampling: Oversampling,

    /// Samples that must show foreground draw its class first, then a case that shows it: rare classes become as frequent as others
    #[schemars(extend("default" = false))]
    pub class_balanced: bool,

    /// How often cases are drawn, in relation to each other: a JSON file {"case": weight, …}; 1 for those that it does not name
    #[schemars(length(min = 1), extend("x-value" = "FILE"))]
    pub case_weights: Option<PathBuf>,
}

/// Which samples of a batch must show foreground.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Oversampling {
    /// The last ones, rounded as nnU-Net does: one of two
    Last,
    /// Each with this probability
    Random,
}

/// What computes.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(transform = Under("Machine"))]
pub struct Machine {
    /// cpu, cuda or cuda:N; default: the first GPU where CUDA is installed, else the CPU
    #[schemars(extend("default" = "auto"))]
    pub device: String,

    /// Threads of libtorch; default: all cores
    #[schemars(range(min = 1))]
    pub threads: Option<u16>,

    /// Threads that load and augment; default: nnUNet_n_proc_DA, else a quarter of the cores
    #[schemars(range(min = 1))]
    pub workers: Option<u16>,
}

/// Where results go.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(transform = Under("Files"))]
pub struct Results {
    /// Where results go; default: nnUNet_results, else ./results
    #[schemars(length(min = 1), extend("x-value" = "DIR"))]
    pub output: Option<PathBuf>,

    /// Added to the plugin's id in the name of the results folder
    #[schemars(with = "Option<String>")]
    pub name: Option<Name>,
}

/// What is measured once a training is done.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(transform = Under("Validation"))]
pub struct Validation {
    /// Predict and measure only so many validation cases, the first of the split
    #[schemars(range(min = 1), extend("x-value" = "N", "x-without" = ["no_validation"]))]
    pub val_cases: Option<u64>,

    /// Do not predict the validation cases once the training is done
    #[schemars(extend("default" = false))]
    pub no_validation: bool,

    /// What computes the network when the validation cases are predicted; training is libtorch's
    #[schemars(extend("default" = "auto"))]
    pub engine: EngineName,
}
