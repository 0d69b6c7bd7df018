//! `host evaluate`: how good predictions are.

use super::Outcome;
use super::place::CaseThreads;
use super::place::case_threads;
use crate::console::say;
use crate::environment::Environment;
use crate::report::{Bar, table};
use anyhow::{Result, anyhow, bail, ensure};
use clap::Args;
use data::dataset::Description;
use data::evaluate::folder::{self, Evaluated, Folders};
use data::evaluate::paired::mean_interval;
use data::measure::Notes;
use data::measure::metric::{Column, Shown};
use data::plan::Plans;
use imaging::io::Reader;
use std::path::Path;
use std::path::PathBuf;

/// Decides the resamples of the bootstrap.
const SEED: u64 = 20_181;

/// Arguments of `host evaluate`.
#[derive(Args, Clone, Debug)]
pub struct EvaluateArgs {
    /// Folder of references, such as labelsTr; for classes the JSON file from case to class
    pub reference: PathBuf,

    /// Folder of predictions
    pub prediction: PathBuf,

    /// What labels mean; default: the dataset.json in the folder of predictions, or the nearest above it
    #[arg(long, value_name = "FILE")]
    pub dataset_json: Option<PathBuf>,

    /// Target of dataset.json that was predicted
    #[arg(long, default_value = "segmentation", value_name = "NAME")]
    pub target: String,

    /// Surfaces that are at most so many mm apart count as equal (NSD)
    #[arg(long, default_value_t = data::measure::TOLERANCE, value_name = "MM")]
    pub tolerance: f64,

    /// Compare files voxel by voxel although their headers say that they do not lie on each other
    #[arg(long)]
    pub ignore_geometry: bool,

    /// Cases without a prediction are no failure
    #[arg(long)]
    pub chill: bool,

    /// Where summary.json and cases.csv go; default: the folder of predictions
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub threads: CaseThreads,
}

/// The reader of the plans that lie beside a `dataset.json`, as they do among predictions.
fn planned_reader(json: &Path) -> Option<Reader> {
    let plans = json.with_file_name("plans.json");
    if !plans.is_file() {
        return None;
    }
    let reader = Plans::read(&plans).and_then(|plans| plans.reader());
    let told = |error| log::warn!("{error}; files are read as dataset.json asks, or else by the first reader that opens one");
    reader.map_err(told).ok()
}

/// Measures all cases, and fails at the end if one could not be, or was not predicted.
pub fn execute(args: &EvaluateArgs, env: &Environment) -> Result<Outcome> {
    ensure!(args.tolerance.is_finite() && args.tolerance >= 0.0, "--tolerance is {}; expected mm of at least 0", args.tolerance);
    let json = args.dataset_json.clone().or_else(|| folder::find_description(&args.prediction));
    let json = json
        .ok_or_else(|| anyhow!("{} has no dataset.json, nor a folder above it; give it with --dataset-json", args.prediction.display()))?;
    let description = Description::read_trained(&json)?;
    let kind = folder::target(&description, &args.target).map_err(|e| anyhow!("--target: {}: {e}", json.display()))?;
    if let Some(gap) = kind.labels().and_then(|labels| labels.gap()) {
        log::warn!("{}: {gap}; it is compared with the values of dataset.json, as nnU-Net does", json.display());
    }
    let folders = Folders {
        reference: &args.reference,
        prediction: &args.prediction,
        kind,
        ending: &description.file_ending,
        reader: planned_reader(&json).or_else(|| description.asked_reader()),
        tolerance: args.tolerance,
        ignore_geometry: args.ignore_geometry,
    };
    let bar = Bar::new("evaluating", 0);
    let show = |progress: data::parallel::Progress| bar.set(progress.done as u64, progress.total as u64);
    let evaluated = folder::evaluate(&folders, case_threads(&args.threads)?, &show);
    drop(bar);
    let Evaluated { summary, bad, unpredicted, doubts } = evaluated.map_err(|e| anyhow!(e))?;

    ensure!(summary.measured() > 0 || !bad.is_empty(), "{} has a prediction for none of the references", args.prediction.display());

    let output = args.output.as_ref().unwrap_or(&args.prediction);
    std::fs::create_dir_all(output).map_err(|e| anyhow!("cannot write to {}: {e}", output.display()))?;
    summary.write(&output.join("summary.json"), &Notes::default())?;
    let table = summary.table();
    imaging::io::write_atomically(&output.join("cases.csv"), |file| file.write_all(table.as_bytes()))?;

    let mut lines = vec![["LABEL", "METRIC", "CASES", "MEAN", "95 % INTERVAL"].map(str::to_owned).to_vec()];
    for Column { label, metric, values, .. } in summary.columns().into_iter().filter(|column| column.shown >= Shown::OnConsole) {
        let known: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        let interval = mean_interval(&known, SEED).map_or_else(String::new, |[low, high]| format!("[{low:.4}, {high:.4}]"));
        lines.push(vec![label, metric.to_owned(), known.len().to_string(), format!("{mean:.4}"), interval]);
    }
    env.output.text(&table::lines(&lines))?;
    say!(env, "{} and cases.csv", output.join("summary.json").display())?;
    doubts.iter().chain(&bad).for_each(|(case, reason)| log::warn!("case {case}: {reason}"));
    unpredicted.iter().for_each(|case| log::warn!("case {case}: it was not predicted"));
    let missing = bad.len() + unpredicted.len();
    if !bad.is_empty() || !unpredicted.is_empty() && !args.chill {
        let hint = if bad.is_empty() { " (--chill: those that were not predicted are no failure)" } else { "" };
        bail!("{missing} of {} cases could not be measured; the others are in the summary{hint}", missing + summary.measured());
    }
    Ok(Outcome::Done)
}
