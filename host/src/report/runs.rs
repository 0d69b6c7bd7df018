//! Finished and unfinished runs, read back from what they left: for tables and charts of one or several.

use super::EpochRecord;
use super::chart::{Line, Panel};
use super::{LogError, read_records};
use crate::artifact::{REPLACED, checkpoint_path};
use std::path::{Path, PathBuf};

/// One fold of one run.
#[derive(Debug)]
pub struct Run {
    /// `<data set>/<plugin>__<plans>__<configuration>/fold_<n>`, as far as its folder is below the results.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its epochs.
    pub records: Vec<EpochRecord>,
}

/// A run that cannot be found, or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such run.
    #[error("{results}: no run ends in '{name}'; there are: {known}", results = .results.display())]
    Unknown {
        /// Where results are.
        results: PathBuf,
        /// What was asked for.
        name: String,
        /// All runs.
        known: String,
    },
    /// Several such runs.
    #[error("several runs end in '{name}': {found}; say which")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// Which there are.
        found: String,
    },
    /// Its log.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Run {
    /// Reads the run in `folder`.
    ///
    /// # Errors
    /// When its `metrics.jsonl` cannot be read.
    pub fn open(folder: &Path, results: &Path) -> Result<Self, Error> {
        let name = folder.strip_prefix(results).unwrap_or(folder).display().to_string();
        let metrics = folder.join("metrics.jsonl");
        Ok(Self { name, folder: folder.to_owned(), records: read_records(&metrics)? })
    }

    /// Finds the run that `name` means: a folder, or the end of the path of one below `results`.
    pub fn find(name: &str, results: &Path) -> Result<Self, Error> {
        let mut found = folds(name, results)?;
        match found.len() {
            1 => Self::open(&found.swap_remove(0), results),
            _ => Err(Error::Ambiguous { name: name.to_owned(), found: list(&found, results) }),
        }
    }

    /// Whether it has come to its end.
    pub fn is_finished(&self) -> bool {
        checkpoint_path(&self.folder, "final").is_file()
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<&EpochRecord> {
        self.records.iter().rev().find(|record| record.best)
    }

    /// Moving average of the first output's first metric in `record`.
    pub fn score(record: &EpochRecord) -> Option<f64> {
        record.ema.values().next().copied()
    }
}

/// The folds that `name` means, at least one, all of one model: a folder, or the end of a path below `results`, of a fold or of a model.
pub fn folds(name: &str, results: &Path) -> Result<Vec<PathBuf>, Error> {
    let given = Path::new(name);
    if given.join("metrics.jsonl").is_file() {
        return Ok(vec![given.to_owned()]);
    }
    let all = folders(results);
    let model_ends = |folder: &Path| folder.parent().is_some_and(|model| model.ends_with(given) || model == given);
    let found: Vec<PathBuf> = all.iter().filter(|folder| folder.ends_with(given) || model_ends(folder)).cloned().collect();
    match found.first() {
        None => Err(Error::Unknown { results: results.to_owned(), name: name.to_owned(), known: list(&all, results) }),
        Some(first) if found.iter().any(|fold| fold.parent() != first.parent()) => {
            Err(Error::Ambiguous { name: name.to_owned(), found: list(&found, results) })
        }
        Some(_) => Ok(found),
    }
}

fn list(folders: &[PathBuf], results: &Path) -> String {
    let names: Vec<String> = folders.iter().map(|folder| folder.strip_prefix(results).unwrap_or(folder).display().to_string()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Folders of all folds below `results` (`<data set>/<model>/fold_<n>`) that have a `metrics.jsonl`, in the order of their names.
pub fn folders(results: &Path) -> Vec<PathBuf> {
    let inside = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let mut folds: Vec<PathBuf> = inside(results).iter().flat_map(|dataset| inside(dataset)).flat_map(|model| inside(&model)).collect();
    folds.retain(|fold| fold.join("metrics.jsonl").is_file() && fold.extension().is_none_or(|ending| ending != REPLACED));
    folds.sort();
    folds
}

/// Names of all numbers that any of `runs` has, in the order in which they first appear.
pub fn quantities(runs: &[Run]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in runs.iter().filter_map(|run| run.records.last()).flat_map(EpochRecord::numbers) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The number `name` in `record`.
pub fn value(record: &EpochRecord, name: &str) -> Option<f64> {
    record.numbers().into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

/// One panel a number, with one line a run.
pub fn panels(runs: &[Run]) -> Vec<Panel> {
    let points = |run: &Run, name: &str| -> Vec<(f64, f64)> {
        run.records.iter().filter_map(|record| Some((record.epoch as f64, value(record, name)?))).collect()
    };
    let line = |(i, run): (usize, &Run), name: &str| Line { name: label(i, run), points: points(run, name), dashed: false };
    let panel = |name: String| Panel {
        lines: runs.iter().enumerate().map(|run| line(run, &name)).collect(),
        title: name,
        x_label: "epoch".to_owned(),
    };
    quantities(runs).into_iter().map(panel).collect()
}

/// What a run is called beside others: a letter.
pub fn label(index: usize, run: &Run) -> String {
    let letter = char::from(b'A' + (index % 26) as u8);
    let model = run.folder.parent().and_then(Path::file_name).map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    format!("{letter} {}", model.split("__").next().unwrap_or_default())
}
