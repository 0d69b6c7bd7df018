//! How good predictions are: what is measured of a case, and what becomes of all cases of an output in files, in a table, and in words.
//!
//! ```text
//! prediction, reference ─ case_metrics ─→ Case ─ Collect::add ─→ means ─ Summarise::write ─→ summary.json ─ record ─→ comparisons
//! ```
//! Every measure has a list `METRICS`: a [`metric`] is added there. [`segmentation`] counts exactly as nnU-Net's `evaluate_predictions.py` and
//! writes its format; [`regression`] and [`classification`] follow the same layout with their own metrics, each beside what guessing would reach.
//! Which of them measures a target is for its [kind](crate::kinds) to say; [`record`] reads a `summary.json` back.
//!
//! Cases can be measured on any thread and are added in any order: the file is sorted by prediction.

pub mod classification;
mod json;
pub mod metric;
pub mod record;
pub mod regression;
pub mod segmentation;
mod table;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use metric::Column;

/// The measured cases of one output, to be asked for.
pub trait Summarise: fmt::Debug {
    /// How many cases were measured.
    fn measured(&self) -> usize;

    /// By label and metric: the values of all cases.
    fn columns(&self) -> Vec<Column>;

    /// Writes `summary.json`. `notes` say which cases it is about.
    ///
    /// # Errors
    /// When the file cannot be written.
    fn write(&self, path: &Path, notes: &Notes) -> Result<(), Error>;

    /// Metrics of every case, one row a case and label, with their names in the first one: comma-separated values.
    fn table(&self) -> String;

    /// How good the predictions are, in one line.
    fn in_words(&self) -> String;
}

/// The same, to be added to.
pub trait Collect: Summarise {
    /// One measured case.
    type Case;

    /// Adds a case.
    fn add(&mut self, case: Self::Case);
}

/// Why a case cannot be measured or a summary not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Prediction and reference do not lie on the same voxels.
    #[error(
        "{file}: shape (c z y x) {found:?}, its reference {reference} has {expected:?}: predict this case again, or compare it with the reference that it was made for",
        file = .files.prediction.display(), reference = .files.reference.display()
    )]
    Shape {
        /// The two files.
        files: Files,
        /// Shape of the prediction.
        found: [usize; 4],
        /// Shape of the reference.
        expected: [usize; 4],
    },
    /// The reference of an image-level target names a class that the prediction has no score for.
    #[error("case {case}: reference class {reference}, but the prediction has {scores} scores: one score for each class is expected")]
    Classes {
        /// The case.
        case: String,
        /// Index of its class.
        reference: usize,
        /// Number of scores in the prediction.
        scores: usize,
    },
    /// The summary cannot be written.
    #[error(transparent)]
    Io(#[from] imaging::io::Error),
}

/// Surfaces that are at most so many mm apart count as equal, unless told otherwise.
pub const TOLERANCE: f64 = 1.0;

/// Where prediction and reference of a case lie; written to `summary.json` beside its metrics.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Files {
    /// The predicted file.
    #[serde(rename = "prediction_file")]
    pub prediction: PathBuf,
    /// The file that it is compared with.
    #[serde(rename = "reference_file")]
    pub reference: PathBuf,
}

/// What a `summary.json` says of the cases that were measured, beside nnU-Net's keys; nothing where all of a split of the file were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// The split is none of splits_final.json: how it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Only some of the split's validation cases were measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_cases: Option<Share>,
}

/// Some of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How many there are.
    pub all: usize,
    /// How many were measured.
    pub measured: usize,
}

/// A case of a segmentation or a regression, as `summary.json` has it.
#[derive(Serialize)]
struct CaseRecord<'a, Metrics> {
    metrics: Metrics,
    #[serde(flatten)]
    files: &'a Files,
}

impl Files {
    pub(crate) fn check_shapes(&self, found: [usize; 4], expected: [usize; 4]) -> Result<(), Error> {
        if found == expected {
            return Ok(());
        }
        Err(Error::Shape { files: self.clone(), found, expected })
    }
}

/// Mean of what is not NaN, NaN when nothing is left (numpy's `nanmean`).
fn nan_mean(values: impl Iterator<Item = f64>) -> f64 {
    mean(values.filter(|value| !value.is_nan()))
}

/// Mean, NaN of nothing (numpy's `mean`).
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}
