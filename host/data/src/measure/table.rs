//! `cases.csv` of what is measured file by file.

use super::Files;
use super::metric::Column;
use crate::csv::{self, Cell};

/// The name of the predicted file.
fn file_name(files: &Files) -> String {
    files.prediction.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Comma-separated values: a row for every one of `files`, in the order in which `columns` have them, and every label, of which each has the
/// same metrics. Without labels there is no column for them.
pub(super) fn of_files<'a>(files: impl Iterator<Item = &'a Files>, columns: &[Column], labelled: bool) -> String {
    let mut table = String::new();
    let of_labels: Vec<&[Column]> = columns.chunk_by(|a, b| a.label == b.label).collect();
    let names = of_labels.first().map_or(&[][..], |columns| columns).iter().map(|column| column.metric);
    let head = if labelled { &["file", "label"][..] } else { &["file"] };
    csv::row(&mut table, head.iter().copied().chain(names).map(Cell::Text));
    for (case, file) in files.map(file_name).enumerate() {
        for columns in &of_labels {
            let texts = [&file, &columns[0].label];
            let texts = texts.into_iter().take(head.len()).map(|text| Cell::Text(text));
            csv::row(&mut table, texts.chain(columns.iter().map(|column| Cell::Number(column.values[case]))));
        }
    }
    table
}
