//! `host model …`: models of one program for the other.

use super::Outcome;
use super::place::results;
use super::predict::CheckpointName;
use crate::artifact::{ExportFormat, ModelFolder, check_exportable, unpack, write_model};
use crate::console::say;
use crate::environment::Environment;
use anyhow::{Result, anyhow};
use clap::{Args, Subcommand, ValueEnum};
use data::dataset::splits::Fold;
use data::scratch::Scratch;
use std::path::{Path, PathBuf};

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

/// Does what was asked for.
pub fn execute(command: &ModelCommand, env: &Environment) -> Result<Outcome> {
    match command {
        ModelCommand::Export(args) => export(args, env)?,
        ModelCommand::Import(args) => import(args, env)?,
    }
    Ok(Outcome::Done)
}

/// The models in `path`, a folder or a ZIP file, and the folder that it was unpacked to, for as long as they are needed.
pub(super) fn find(path: &Path, env: &Environment) -> Result<(Vec<PathBuf>, Option<Scratch>)> {
    let is_zip = path.is_file() && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
    if !is_zip {
        return Ok((vec![path.to_owned()], None));
    }
    let folder = env.folders.private().map_err(|e| anyhow!("cannot unpack {}: {e}", path.display()))?;
    let models = unpack(path, folder.path())?;
    imaging::failpoint::reached(format_args!("model.unpacked"));
    Ok((models, Some(folder)))
}

fn export(args: &ExportArgs, env: &Environment) -> Result<()> {
    let folder = ModelFolder::open(&args.model)?;
    let checkpoints = folder.checkpoints(&args.folds, args.checkpoint.name())?;
    let format = match args.format {
        FormatName::Nnunet => ExportFormat::Nnunet,
        FormatName::Safetensors => ExportFormat::Safetensors,
    };
    if format == ExportFormat::Nnunet {
        let paths: Vec<PathBuf> = checkpoints.iter().map(|(_, path)| path.clone()).collect();
        check_exportable(&folder, &paths, (args.plugin.as_deref(), &env.plugins), args.unchecked)?;
    }
    write_model(&folder, &checkpoints, format, &env.folders, |_| Ok(args.output.clone()))?;
    say!(env, "{}: {} folds", args.output.display(), checkpoints.len())?;
    Ok(())
}

/// Takes every model to `<results>/<dataset>/base__<plans>__<configuration>`.
fn import(args: &ImportArgs, env: &Environment) -> Result<()> {
    let (models, _unpacked) = find(&args.model, env)?;
    let results = results(args.output.as_deref());
    for path in models {
        let folder = ModelFolder::open(&path)?;
        let checkpoints = folder.checkpoints(&[], args.checkpoint.name())?;
        let output = write_model(&folder, &checkpoints, ExportFormat::Safetensors, &env.folders, |origin| {
            let name = format!("base__{}__{}", folder.plans.plans_name, folder.configuration_name(origin)?);
            Ok(results.join(&*folder.plans.dataset_name).join(name))
        })?;
        say!(env, "{}: {} folds", output.display(), checkpoints.len())?;
    }
    Ok(())
}
