//! From image files to files of predictions.

use super::{BadCase, CaseFiles, Error, Layout, Prediction, Predictor, Preprocessed, Run};
use crate::environment::Stop;
use data::plan::Configuration;
use imaging::largest_component::keep_largest_component;
use indexmap::IndexMap;
use std::sync::{Mutex, PoisonError};

/// How it went.
#[derive(Debug)]
pub struct Done {
    /// Cases that were not predicted, with the reason, by name.
    pub bad: Vec<BadCase>,
    /// Time that the network took, and whether cases were left.
    pub run: Run,
}

/// Predicts `cases` into the files of `layout`, and calls `tell` after each. A case that cannot be predicted does not stop the others.
/// `largest` are groups of labels of which only the largest connected component is kept, by output.
///
/// # Errors
/// When something fails that concerns all cases.
pub fn predict_files(
    predictor: &Predictor,
    configuration: &Configuration,
    cases: &[CaseFiles],
    layout: &Layout,
    largest: &IndexMap<String, Vec<Vec<i16>>>,
    stop: &Stop,
    tell: impl Fn() + Sync,
) -> Result<Done, Error> {
    let bad = Mutex::new(Vec::new());
    let read = |case: &CaseFiles| {
        let preprocessed = Preprocessed::from_files(&case.images, layout.plans, configuration)?;
        layout.check(case, &preprocessed.geometry)?;
        Ok(Some(preprocessed))
    };
    let finish = |case: &CaseFiles, mut predicted: super::Predicted| {
        for (name, exported) in &mut predicted.outputs {
            if let Prediction::Labels(labels) = &mut exported.prediction {
                largest.get(name).into_iter().flatten().for_each(|group| keep_largest_component(labels, group));
            }
        }
        layout.write(case, &predicted)?;
        tell();
        Ok(())
    };
    let failed = |case: &CaseFiles, error: Error| {
        let bad_case = BadCase { case: case.id.to_string(), reason: error.to_string() };
        bad.lock().unwrap_or_else(PoisonError::into_inner).push(bad_case);
        tell();
        Ok(())
    };
    let run = predictor.run(cases, read, finish, failed, stop)?;
    let mut bad = bad.into_inner().unwrap_or_else(PoisonError::into_inner);
    bad.sort_by(|a, b| a.case.cmp(&b.case));
    Ok(Done { bad, run })
}
