//! `host runs list | show | compare | test | schema`: what trainings have come to.

use super::Outcome;
use super::place::results;
use crate::console::say;
use crate::environment::Environment;
use crate::report::EpochRecord;
use crate::report::runs::{self, Run};
use crate::report::{chart, comparison, table};
use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Epochs that `show` prints of a long run.
const ROWS: usize = 20;

/// `host runs …`. A run is the folder of a fold, or of a model with one fold, or the end of its path: `base__nnUNetPlans__3d_fullres/fold_0`.
#[derive(Debug, Subcommand)]
pub enum RunsCommand {
    /// List all runs, and how far they are
    List {
        #[command(flatten)]
        #[allow(missing_docs)]
        place: ResultsArgs,
    },
    /// Show one run: what it was made with, and its numbers, epoch by epoch
    Show {
        /// The run
        run: String,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: ResultsArgs,
    },
    /// Compare runs, term by term and output by output, in a table and a chart
    Compare {
        /// The runs
        #[arg(required = true, num_args = 2.., value_name = "RUN")]
        runs: Vec<String>,
        /// The chart
        #[arg(long, default_value = "compare.png", value_name = "FILE")]
        png: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: ResultsArgs,
    },
    /// Test whether other runs are better than the first, case by case of their validations: differences, intervals, Wilcoxon's test, a plot
    Test {
        /// The runs: models with all their folds, or single folds
        #[arg(required = true, num_args = 2.., value_name = "RUN")]
        runs: Vec<String>,
        /// Folder of the report
        #[arg(long, default_value = "comparison", value_name = "DIR")]
        report: PathBuf,
        #[command(flatten)]
        #[allow(missing_docs)]
        place: ResultsArgs,
    },
    /// Print the JSON Schema of the lines of metrics.jsonl
    Schema,
}

/// Where results are.
#[derive(Args, Clone, Debug)]
pub struct ResultsArgs {
    /// Where results are; default: nnUNet_results, else ./results
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Lists, shows or compares.
pub fn execute(command: &RunsCommand, env: &Environment) -> Result<Outcome> {
    match command {
        RunsCommand::List { place } => list(&results(place.output.as_deref()), env),
        RunsCommand::Show { run, place } => show(&Run::find(run, &results(place.output.as_deref()))?, env),
        RunsCommand::Compare { runs, png, place } => compare(runs, png, &results(place.output.as_deref()), env),
        RunsCommand::Test { runs, report, place } => test(runs, report, &results(place.output.as_deref()), env),
        RunsCommand::Schema => Ok(env.output.json(&schemars::schema_for!(EpochRecord))?),
    }?;
    Ok(Outcome::Done)
}

fn list(results: &Path, env: &Environment) -> Result<()> {
    let folders: Vec<PathBuf> = runs::folders(results);
    ensure!(!folders.is_empty(), "{}: no runs; train one with host run, or say where they are with --output", results.display());
    let mut rows = vec![["RUN", "EPOCHS", "SCORE", "BEST", "AT", "STATE"].map(str::to_owned).to_vec()];
    for folder in folders {
        let run = Run::open(&folder, results)?;
        let last = run.records.last();
        rows.push(vec![
            run.name.clone(),
            last.map_or_else(String::new, |record| format!("{}/{}", record.epoch + 1, record.epochs)),
            number(last.and_then(Run::score)),
            number(run.best().and_then(Run::score)),
            run.best().map_or_else(String::new, |record| record.epoch.to_string()),
            if run.is_finished() { "finished" } else { "unfinished" }.to_owned(),
        ]);
    }
    print_table(&rows, env)
}

fn show(run: &Run, env: &Environment) -> Result<()> {
    say!(env, "{}", run.folder.display())?;
    if let Ok(debug) = imaging::io::read_json::<Value>(&run.folder.join("debug.json")) {
        let identity = &debug["identity"];
        let facts = [
            ("plugin", format!("{} {}", text(&identity["plugin"]), text(&identity["plugin_version"]))),
            ("sha256", text(&identity["library"]["sha256"])),
            ("options", text(&identity["options"])),
            ("precision", text(&identity["precision"])),
            ("recipe", text(&identity["recipe"])),
            ("data key", text(&identity["data_key"])),
            ("seed", text(&debug["seed"])),
            ("device", text(&identity["machine"]["device"])),
        ];
        facts.iter().try_for_each(|(name, value)| say!(env, "{name:<10} {value}"))?;
    }
    let Some(last) = run.records.last() else { return Ok(say!(env, "no epoch yet")?) };
    let names: Vec<String> = last.numbers().into_iter().map(|(name, _)| name).collect();
    // Evenly spread, the last one among them.
    let step = run.records.len().div_ceil(ROWS);
    let shown: Vec<&EpochRecord> = run.records.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev().collect();
    let mut rows = vec![[String::new()].into_iter().chain(shown.iter().map(|record| record.epoch.to_string())).collect::<Vec<_>>()];
    rows.extend(
        names.iter().map(|name| [name.clone()].into_iter().chain(shown.iter().map(|record| number(runs::value(record, name)))).collect()),
    );
    say!(env, "")?;
    print_table(&rows, env)
}

fn compare(names: &[String], png: &Path, results: &Path, env: &Environment) -> Result<()> {
    let runs: Vec<Run> = names.iter().map(|name| Run::find(name, results)).collect::<Result<_, _>>()?;
    for (i, run) in runs.iter().enumerate() {
        let epochs = run.records.len();
        say!(env, "{}: {}, {epochs} epochs", runs::label(i, run), run.folder.display())?;
    }
    let last = |run: &Run, name: &str| run.records.last().and_then(|record| runs::value(record, name));
    let best = |run: &Run, name: &str| run.best().and_then(|record| runs::value(record, name));
    let mut rows = vec![vec!["last epoch, best epoch".to_owned()]];
    rows[0].extend(runs.iter().enumerate().flat_map(|(i, run)| [runs::label(i, run), "best".to_owned()]));
    for name in runs::quantities(&runs) {
        let mut row = vec![name.clone()];
        row.extend(runs.iter().flat_map(|run| [number(last(run, &name)), number(best(run, &name))]));
        rows.push(row);
    }
    say!(env, "")?;
    print_table(&rows, env)?;
    chart::write(png, &runs::panels(&runs))?;
    say!(env, "")?;
    Ok(say!(env, "Chart: {}", png.display())?)
}

/// Four digits that matter; a dash for what is not there.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value != 0.0 && !(1e-3..1e5).contains(&value.abs()) && value.is_finite() => format!("{value:.3e}"),
        Some(value) => format!("{value:.4}"),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn print_table(rows: &[Vec<String>], env: &Environment) -> Result<()> {
    Ok(env.output.text(&table::lines(rows))?)
}

fn test(names: &[String], report: &Path, results: &Path, env: &Environment) -> Result<()> {
    let named: Vec<(String, Vec<PathBuf>)> = names
        .iter()
        .map(|name| {
            let folds = runs::folds(name, results)?;
            let model = folds[0].parent().and_then(Path::file_name).map_or_else(String::new, |model| model.to_string_lossy().into_owned());
            Ok((model.split("__").next().unwrap_or_default().to_owned(), folds))
        })
        .collect::<Result<_>>()?;
    compare_cases(&named, report, env)
}

/// Compares the validation cases of the first run with those of every other one.
pub(super) fn compare_cases(runs: &[(String, Vec<PathBuf>)], report: &Path, env: &Environment) -> Result<()> {
    let read: Vec<comparison::Results> =
        runs.iter().map(|(name, folds)| comparison::Results::read(name, folds)).collect::<Result<_, _>>()?;
    let (first, others) = read.split_first().expect("at least two");
    for other in others.iter().filter(|other| other.data_keys != first.data_keys) {
        say!(
            env,
            "{} and {} were trained on different batches or folds: differences are not those of their plugins alone",
            first.name,
            other.name
        )?;
    }
    let comparisons = others.iter().map(|other| comparison::Comparison::new(first, other)).collect::<Result<Vec<_>, _>>()?;
    say!(env, "")?;
    env.output.text(&comparison::write(report, &comparisons)?)?;
    say!(env, "")?;
    Ok(say!(env, "Report: {}", report.display())?)
}
