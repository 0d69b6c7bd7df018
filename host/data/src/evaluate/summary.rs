//! The measured cases of one output, of whatever kind its target is: what becomes of them in files, in a table, and in words.

use std::path::Path;

use super::metric::Column;
use super::{Error, Files, Notes, classification, regression, segmentation};
use crate::csv::{self, Cell};
use crate::dataset::TargetKind;

/// The measured cases of one output.
#[derive(Clone, Debug)]
pub enum Summary {
    /// Label maps.
    Labels(segmentation::Summary),
    /// Real values.
    Regression(regression::Summary),
    /// Classes of whole images.
    Class(classification::Summary),
}

/// One measured case.
#[derive(Clone, Debug)]
pub enum Case {
    /// A label map.
    Labels(segmentation::Case),
    /// Real values.
    Regression(regression::Case),
    /// A class of a whole image.
    Class(classification::Case),
}

impl Summary {
    /// Without cases yet, of a target of this kind.
    pub fn new(kind: &TargetKind) -> Self {
        match kind {
            TargetKind::Labels(labels) => Self::Labels(segmentation::Summary::new(labels)),
            TargetKind::Regression { .. } => Self::Regression(regression::Summary::default()),
            TargetKind::Class { classes } => Self::Class(classification::Summary::new(classes.clone())),
        }
    }

    /// Adds a case of its kind.
    pub fn add(&mut self, case: Case) {
        match (self, case) {
            (Self::Labels(summary), Case::Labels(case)) => summary.add(case),
            (Self::Regression(summary), Case::Regression(case)) => summary.add(case),
            (Self::Class(summary), Case::Class(case)) => summary.add(case),
            _ => unreachable!("all cases of an output are of one kind"),
        }
    }

    /// How many cases were measured.
    pub fn cases(&self) -> usize {
        match self {
            Self::Labels(summary) => summary.cases().len(),
            Self::Regression(summary) => summary.cases().len(),
            Self::Class(summary) => summary.cases().len(),
        }
    }

    /// By label and metric: the values of all cases.
    pub fn columns(&self) -> Vec<Column> {
        match self {
            Self::Labels(summary) => summary.columns(),
            Self::Regression(summary) => summary.columns(),
            Self::Class(summary) => summary.columns(),
        }
    }

    /// Writes `summary.json`. `notes` say which cases it is about.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path, notes: &Notes) -> Result<(), Error> {
        match self {
            Self::Labels(summary) => summary.write(path, notes),
            Self::Regression(summary) => summary.write(path, notes),
            Self::Class(summary) => summary.write(path, notes),
        }
    }

    /// Metrics of every case, one row a case and label, with their names in the first one: comma-separated values.
    pub fn table(&self) -> String {
        let columns = self.columns();
        let mut table = String::new();
        match self {
            Self::Class(summary) => {
                csv::row(&mut table, ["case", "prediction", "reference"].map(Cell::Text));
                for case in summary.cases() {
                    let numbers = [case.prediction, case.reference].map(|class| Cell::Number(class as f64));
                    csv::row(&mut table, [Cell::Text(&case.case)].into_iter().chain(numbers));
                }
            }
            Self::Labels(summary) => {
                let files: Vec<String> = summary.cases().iter().map(|case| file_name(&case.files)).collect();
                rows(&mut table, &files, &columns, true);
            }
            Self::Regression(summary) => {
                let files: Vec<String> = summary.cases().iter().map(|case| file_name(&case.files)).collect();
                rows(&mut table, &files, &columns, false);
            }
        }
        table
    }

    /// How good the predictions are, in one line.
    pub fn in_words(&self) -> String {
        match self {
            Self::Labels(summary) => {
                let each = summary.names().zip(summary.means(segmentation::DICE));
                let each: Vec<String> = each.map(|(name, dice)| format!("{name} {dice:.4}")).collect();
                format!("mean Dice {:.4} ({})", summary.foreground_mean(segmentation::DICE), each.join(", "))
            }
            Self::Regression(summary) => {
                let each: Vec<String> =
                    regression::METRICS.iter().map(|metric| format!("{} {:.4}", metric.name, summary.mean(metric))).collect();
                format!("{} (best constant: MAE {:.4})", each.join(", "), summary.constant_mae())
            }
            Self::Class(summary) => {
                let (accuracy, auc, majority) = (summary.accuracy(), summary.macro_auc(), summary.majority_rate());
                format!("accuracy {accuracy:.4}, AUC {auc:.4} (majority: accuracy {majority:.4})")
            }
        }
    }
}

fn file_name(files: &Files) -> String {
    files.prediction.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// A row for every one of `files` and every label, of which each has the same metrics.
fn rows(table: &mut String, files: &[String], columns: &[Column], labelled: bool) {
    let of_labels: Vec<&[Column]> = columns.chunk_by(|a, b| a.label == b.label).collect();
    let names = of_labels.first().map_or(&[][..], |columns| columns).iter().map(|column| column.metric);
    let head = if labelled { &["file", "label"][..] } else { &["file"] };
    csv::row(table, head.iter().copied().chain(names).map(Cell::Text));
    for (case, file) in files.iter().enumerate() {
        for columns in &of_labels {
            let texts = [file, &columns[0].label];
            let texts = texts.into_iter().take(head.len()).map(|text| Cell::Text(text));
            csv::row(table, texts.chain(columns.iter().map(|column| Cell::Number(column.values[case]))));
        }
    }
}
