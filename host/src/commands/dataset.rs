//! `host dataset check | convert`: is a data set as it should be, and how does one of another format become one.

use super::Outcome;
use super::place::CaseThreads;
use super::place::{case_threads, raw_root};
use crate::console::say;
use crate::environment::Environment;
use crate::report::Bar;
use anyhow::{Result, anyhow, bail};
use clap::{Subcommand, ValueEnum};
use data::dataset::{check, convert};
use data::parallel::Progress;
use std::path::{Path, PathBuf};

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

/// Checks or converts a data set.
pub fn execute(command: &DatasetCommand, env: &Environment) -> Result<Outcome> {
    match command {
        DatasetCommand::Check { dataset, json, threads } => check_dataset(dataset, *json, case_threads(threads)?, env),
        DatasetCommand::Convert { from: SourceFormat::Msd, input, output, id, threads } => {
            convert_task(input, output.as_deref(), *id, case_threads(threads)?, env)
        }
    }
}

fn check_dataset(spec: &str, json: bool, threads: usize, env: &Environment) -> Result<Outcome> {
    let folder = check::folder(spec, raw_root().as_deref())?;
    let report = with_bar("checking", |show| check::check(&folder, threads, show));
    if json {
        env.output.json(&report)?;
    } else if !report.findings.is_empty() {
        env.output.text(&report.table(env.output.width))?;
    }
    if report.errors > 0 {
        bail!(report.summary());
    }
    if !json {
        say!(env, "{}", report.summary())?;
    }
    Ok(Outcome::Done)
}

fn convert_task(input: &Path, output: Option<&Path>, id: Option<u16>, threads: usize, env: &Environment) -> Result<Outcome> {
    let root = output.map(Path::to_path_buf).or_else(raw_root);
    let root = root.ok_or_else(|| anyhow!("nowhere to put the data set: give --output, or set nnUNet_raw"))?;
    let converted = with_bar("converting", |show| convert::from_msd(input, &root, id, threads, &env.folders, show))?;
    if let Some(example) = converted.left_out.first() {
        log::warn!("{} files that dataset.json does not list were left out, such as {}", converted.left_out.len(), example.display());
    }
    say!(env, "{}: {} training and {} test cases", converted.folder.display(), converted.cases, converted.test_cases)?;
    Ok(Outcome::Done)
}

fn with_bar<T>(what: &str, work: impl FnOnce(&(dyn Fn(Progress) + Sync)) -> T) -> T {
    let bar = Bar::new(what, 0);
    work(&|progress| bar.set(progress.done as u64, progress.total as u64))
}
