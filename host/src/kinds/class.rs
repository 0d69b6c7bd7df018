//! One class for the whole case: a score of every class is predicted.

use super::{Exported, Frame, Kind, Levels, LoadError, Measurable, Memory, Prediction, Stored, TargetBatch, Told, levels::Array};
use data::csv::{self, Cell};
use data::dataset::CaseTarget;
use data::kinds::{Case, Class};
use data::measure::classification;
use imaging::io::{Geometry, write_atomically};
use indexmap::IndexMap;
use std::path::{Path, PathBuf};
use tch::{TchError, Tensor};

impl Kind for Class {
    fn told(&self) -> Told {
        Told { kind: plugin_api::Kind::Class, channels: self.classes.len(), classes: self.classes.clone(), ignore: None }
    }

    fn values_per_voxel(&self) -> usize {
        1
    }

    fn levels(&self, samples: usize, _: &[[usize; 3]]) -> Levels {
        Levels::Class(Array::filled(vec![samples], 0))
    }

    fn load(&self, stored: &Stored, _: &mut Memory, _: &mut Vec<i16>, out: &mut TargetBatch, index: usize) -> Result<bool, LoadError> {
        let (Some(class), Levels::Class(classes)) = (stored.case.class(stored.name), &mut out.levels) else { return Ok(false) };
        classes.data[index] = class as i64;
        out.set_present(index, true);
        Ok(true)
    }

    fn export_active(&self, active: &Tensor, _: &Frame) -> Result<Exported, TchError> {
        Ok(Exported::alone(Prediction::Class(Vec::try_from(active.f_squeeze_dim(0)?.f_to_kind(tch::Kind::Double)?)?)))
    }

    /// As JSON with one probability a name.
    fn write(&self, path: &Path, prediction: &Prediction, _: &Geometry) -> Result<(), imaging::io::Error> {
        let named: IndexMap<&String, &f64> = self.classes.iter().zip(exported(prediction)).collect();
        write_atomically(path, |file| Ok(serde_json::to_writer_pretty(file, &named)?))
    }

    fn measure(&self, measured: &Measurable, reference: &CaseTarget) -> Result<Option<Case>, data::measure::Error> {
        let CaseTarget::Class(reference) = reference else { return Ok(None) };
        let scores = exported(measured.prediction).to_vec();
        Ok(Some(Case::Class(classification::case_metrics(measured.case.to_owned(), scores, *reference)?)))
    }

    /// A line a case: its likeliest class, the first of equals, and the score of each.
    fn table(&self, predicted: &mut dyn Iterator<Item = (&str, PathBuf)>) -> Option<String> {
        let classes = &self.classes;
        let mut table = String::new();
        csv::row(&mut table, ["case", "class"].into_iter().chain(classes.iter().map(String::as_str)).map(Cell::Text));
        for (case, path) in predicted {
            let Ok(scores) = self.read_scores(&path) else { continue };
            let best = (0..scores.len()).fold(0, |best, i| if scores[i] > scores[best] { i } else { best });
            let texts = [case, &classes[best]].map(Cell::Text);
            csv::row(&mut table, texts.into_iter().chain(scores.into_iter().map(Cell::Number)));
        }
        Some(table)
    }
}

fn exported(prediction: &Prediction) -> &[f64] {
    let Prediction::Class(scores) = prediction else { unreachable!("a class exports scores") };
    scores
}
