//! What is made of all predictions in a folder: a table of classes, and a picture.
//!
//! Both are made of the files that are there. Of several processes that predict parts of the cases, in whatever order they end, each makes
//! them anew under a lock, and so the last one of all cases.

use super::{CaseFiles, Layout};
use crate::kinds::{self, Drawn};
use crate::report::picture;
use crate::report::picture::overlay::{Row, Sheet, best_planes};
use data::lock::{Lock, Sharing};
use imaging::io::{Error, write_atomically};
use std::path::Path;

/// Cases in one picture.
const DRAWN: usize = 32;
const LOCK: &str = "predict.lock";

/// Writes `classes.csv` for every class output, a line for each of `cases` that is predicted, and draws the first of them to `preview`.
/// `in_parts` says that other processes may do the same.
///
/// # Errors
/// When a file cannot be written. A case that cannot be drawn is a warning.
pub fn gather(cases: &[&CaseFiles], layout: &Layout, preview: Option<&Path>, in_parts: bool) -> Result<(), picture::Error> {
    let path = layout.output.join(LOCK);
    let lock = in_parts.then(|| Lock::wait(&path, Sharing::Exclusive)).transpose();
    let _lock = lock.map_err(|cause| Error::Write { path, cause })?;
    for (output, kind) in layout.targets {
        let mut predicted = cases.iter().map(|case| (case.id.as_str(), layout.path(output, &case.id)));
        if let Some(table) = kinds::of(kind).table(&mut predicted) {
            write_atomically(&layout.folder(output).join("classes.csv"), |file| file.write_all(table.as_bytes()))?;
        }
    }
    if let Some(path) = preview {
        let mut sheet = Sheet::default();
        for case in cases.iter().filter(|case| layout.is_complete(&case.id)).take(DRAWN) {
            if let Err(error) = draw(&mut sheet, case, layout) {
                log::warn!("case {} is not drawn: {error}", case.id);
            }
        }
        if !sheet.is_empty() {
            sheet.write(path)?;
        }
    }
    Ok(())
}

/// A row for every output over the first channel of the raw image, through the labels of the first one.
fn draw(sheet: &mut Sheet, case: &CaseFiles, layout: &Layout) -> Result<(), picture::Error> {
    let reader = layout.reader;
    let image = reader.read_image(&case.images[0])?;
    let mut drawn = Vec::new();
    for (output, kind) in layout.targets {
        drawn.extend(kinds::of(kind).draw(&layout.path(output, &case.id), reader)?);
    }
    let labels = drawn.iter().find_map(Drawn::labels);
    let centre = labels.map_or_else(|| image.volume.spatial().map(|size| size / 2), best_planes);
    let rows: Vec<Row> = drawn.iter().map(|drawn| Row { prediction: drawn.into(), reference: None }).collect();
    sheet.add(&case.images[0], &image.volume, image.geometry.spacing(), centre, &rows)
}
