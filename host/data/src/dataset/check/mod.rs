//! `host dataset check`: everything that is wrong with a raw data set, found in one pass over its files.
//!
//! ```text
//! dataset.json ─ description ─→ what can be used of it ─ files ─→ cases ─ voxels (one case a thread) ─→ findings ─→ Report
//!                                                          └──── splits ────────────────────────────────┘
//! ```
//! Opening a data set for training stops at the first thing that breaks a rule; this goes on, and leaves out only what a finding makes
//! pointless. The rules are the same functions. Where nnU-Net's own check (`verify_dataset_integrity.py`) has an error, so has this.

mod description;
mod files;
mod finding;
mod splits;
mod table;
#[cfg(test)]
mod tests;
mod voxels;

use std::convert::Infallible;
use std::path::{Path, PathBuf};

use imaging::io::Reader;
use serde::Serialize;

use super::{Error, resolve};
use crate::parallel::{Progress, Stage, for_each_case, guarded};
use finding::Findings;
pub use finding::{Finding, Severity};

/// What a check came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The data set's folder.
    pub folder: String,
    /// Number of training cases.
    pub cases: usize,
    /// Number of findings that keep the data set from being used.
    pub errors: usize,
    /// Number of the others.
    pub warnings: usize,
    /// Errors first, then by file.
    pub findings: Vec<Finding>,
}

/// The folder that `spec` (path, name or id) means; unlike [`super::Dataset::open`], also one that has no `dataset.json`.
///
/// # Errors
/// When it means no folder, or several.
pub fn folder(spec: &str, raw_root: Option<&Path>) -> Result<PathBuf, Error> {
    match resolve::folder(spec, raw_root) {
        Err(Error::NotFound { .. }) if Path::new(spec).is_dir() => Ok(PathBuf::from(spec)),
        result => result,
    }
}

/// Checks the data set in `folder` on `threads` threads, each of which holds one file at a time.
pub fn check(folder: &Path, threads: usize, progress: &(dyn Fn(Progress) + Sync)) -> Report {
    let mut findings = Findings::new(folder);
    let usable = description::read(folder, &mut findings);
    let cases = files::find(folder, &usable, &mut findings);
    if !cases.is_empty() {
        splits::check(folder, &cases, &mut findings);
    }
    if usable.has_readable_ending(folder) {
        // Where no reader opens the first image, that is found when it is opened like the others.
        let first = || cases.first().and_then(|found| Reader::of(found.case.images.first()?).ok());
        let reader = usable.description.asked_reader().or_else(first);
        let work = |found: &files::Found| {
            Ok::<_, Infallible>(guarded(&found.case.id, || Ok::<_, Error>(voxels::check(folder, found, &usable, reader))))
        };
        let Ok(checked) = for_each_case(&cases, threads, Stage::Check, progress, work);
        let (mut seen, mut placed, mut foregrounds) = (Vec::new(), Vec::new(), Vec::new());
        for (checked, found) in checked.into_iter().zip(&cases) {
            match checked {
                Ok(checked) => {
                    findings.extend(checked.findings);
                    seen.extend(checked.seen);
                    placed.extend(checked.placed);
                    foregrounds.extend(checked.foreground);
                }
                Err(error) => findings.refused(found.case.images.first().map_or(folder, |path| path), &error),
            }
        }
        // One that cannot be read may have some.
        if !cases.is_empty() && foregrounds.len() == cases.len() && !foregrounds.contains(&true) {
            let found = "no label map has a foreground voxel, and without any there is nothing to plan by";
            findings.error(&folder.join("labelsTr"), found, "correct the label maps");
        }
        voxels::find_copies(&seen, &mut findings);
        voxels::find_oversized(&placed, &mut findings);
    } else {
        let ending = &usable.description.file_ending;
        let remedy = "convert the files to a format that can be read, such as .nii.gz, and correct file_ending";
        findings.error(&folder.join("dataset.json"), format!("file_ending is {ending:?}, which no reader knows"), remedy);
    }
    Report::new(folder, cases.len(), findings.into_sorted())
}

impl Report {
    fn new(folder: &Path, cases: usize, findings: Vec<Finding>) -> Self {
        let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        Self { folder: folder.display().to_string(), cases, errors, warnings, findings }
    }

    /// One line: how many cases were checked and what was found.
    pub fn summary(&self) -> String {
        let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
        let (errors, warnings) = (count(self.errors, "error"), count(self.warnings, "warning"));
        format!("{}: {errors}, {warnings} in {}", self.folder, count(self.cases, "case"))
    }

    /// All findings as a table `width` characters wide, every finding on as many lines as it needs; without a width on one line each.
    pub fn table(&self, width: Option<usize>) -> String {
        table::layout(&self.findings, width)
    }
}
