//! What is made of all predictions in a folder: a table of classes, and a picture.
//!
//! Both are made of the files that are there. Of several processes that predict parts of the cases, in whatever order they end, each makes
//! them anew under a lock, and so the last one of all cases.

use super::{CaseFiles, Layout};
use crate::report::picture::overlay::{Row, Sheet, best_planes};
use crate::report::picture::{self, Layer};
use data::csv::{self, Cell};
use data::dataset::TargetKind;
use data::kinds::Class;
use data::lock::{Lock, Sharing};
use imaging::Volume;
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
        if let TargetKind::Class(kind) = kind {
            let table = classes_table(cases, layout, output, kind);
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

fn classes_table(cases: &[&CaseFiles], layout: &Layout, output: &str, kind: &Class) -> String {
    let classes = &kind.classes;
    let mut table = String::new();
    csv::row(&mut table, ["case", "class"].into_iter().chain(classes.iter().map(String::as_str)).map(Cell::Text));
    for case in cases {
        let Ok(scores) = kind.read_scores(&layout.path(output, &case.id)) else { continue };
        let best = (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
        let texts = [case.id.as_str(), &classes[best]].map(Cell::Text);
        csv::row(&mut table, texts.into_iter().chain(scores.into_iter().map(Cell::Number)));
    }
    table
}

/// What is drawn of an output.
enum Drawn {
    Labels(Volume<i16>),
    Values(Volume<f32>),
}

impl Drawn {
    fn layer(&self) -> Layer<'_> {
        match self {
            Self::Labels(labels) => Layer::Labels(labels),
            Self::Values(values) => Layer::Values(values),
        }
    }
}

/// A row for every output over the first channel of the raw image, through the labels of the first one.
fn draw(sheet: &mut Sheet, case: &CaseFiles, layout: &Layout) -> Result<(), picture::Error> {
    let reader = layout.reader;
    let image = reader.read_image(&case.images[0])?;
    let mut drawn = Vec::new();
    for (output, kind) in layout.targets {
        let path = layout.path(output, &case.id);
        match kind {
            TargetKind::Labels(_) => drawn.push(Drawn::Labels(reader.read_labels(&path)?.volume)),
            TargetKind::Regression(_) => drawn.push(Drawn::Values(reader.read_image(&path)?.volume)),
            TargetKind::Class(_) => {}
        }
    }
    let labels = drawn.iter().find_map(|drawn| if let Drawn::Labels(labels) = drawn { Some(labels) } else { None });
    let centre = labels.map_or_else(|| image.volume.spatial().map(|size| size / 2), best_planes);
    let rows: Vec<Row> = drawn.iter().map(|drawn| Row { prediction: drawn.layer(), reference: None }).collect();
    sheet.add(&case.images[0], &image.volume, image.geometry.spacing(), centre, &rows)
}
