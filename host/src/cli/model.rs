//! Arguments of `host model …`.

use super::CheckpointName;
use clap::{Args, Subcommand, ValueEnum};
use data::dataset::splits::Fold;
use std::path::PathBuf;

/// `host model …`.
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Write a model for stock nnU-Net, or one of ours with weights alone
    Export(ExportArgs),
    /// Take a model of nnU-Net's, a folder or a ZIP file, into the results
    Import(ImportArgs),
}

/// Arguments of `host model export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// Model folder, ours or nnU-Net's
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,

    /// What is written
    #[arg(long, value_enum)]
    pub format: FormatName,

    /// The new folder
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,

    /// Folds; default: every numbered one that is there
    #[arg(long, value_delimiter = ',', value_name = "N|all")]
    pub folds: Vec<Fold>,

    /// Which checkpoint of every fold
    #[arg(long, value_enum, default_value_t)]
    pub checkpoint: CheckpointName,

    /// Plugin that trained it, an id or path, where its manifest does not say what it keeps; default: the id in the checkpoint
    #[arg(long, value_name = "ID|PATH")]
    pub plugin: Option<String>,

    /// For nnU-Net without comparing what such a plugin does with what nnU-Net will do
    #[arg(long)]
    pub unchecked: bool,
}

/// Formats of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// fold_N/checkpoint_final.pth, as stock nnU-Net reads it.
    Nnunet,
    /// fold_N/checkpoint_final.safetensors, as we read it: weights alone.
    Safetensors,
}

/// Arguments of `host model import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// Model folder of nnU-Net's, or a ZIP file as nnUNetv2_export_model_to_zip writes it
    #[arg(value_name = "DIR|ZIP")]
    pub model: PathBuf,

    /// Where results are; default: nnUNet_results, else ./results
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Which checkpoint of every fold
    #[arg(long, value_enum, default_value_t)]
    pub checkpoint: CheckpointName,
}
