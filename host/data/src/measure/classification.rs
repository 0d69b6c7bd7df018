//! Image-level classes: accuracy and area under the ROC curve, beside the rate of the majority class.

use std::path::Path;

use serde::Serialize;

use super::metric::{Column, Metric, Shown, columns};
use super::{Collect, Error, Notes, Summarise, json, mean, nan_mean};
use crate::csv::{self, Cell};

/// One case: a score for each class, and the true class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Case {
    /// Its id.
    pub case: String,
    /// Index of the class with the highest score.
    pub prediction: usize,
    /// Index of the true class.
    pub reference: usize,
    /// One for each class: probabilities, or anything else that grows with them.
    pub scores: Vec<f64>,
}

/// What is measured of a case. Over all of them there are the areas under the curves, too.
pub const METRICS: [Metric<Case>; 1] = [Metric {
    name: "accuracy",
    of: |case| if case.prediction == case.reference { 1.0 } else { 0.0 },
    is_count: false,
    larger_is_better: Some(true),
    column: Some(0),
    shown: Shown::Tested,
}];

/// Takes one case down. The first of equal scores wins.
///
/// # Errors
/// When there is no score for the true class.
pub fn case_metrics(case: String, scores: Vec<f64>, reference: usize) -> Result<Case, Error> {
    if reference >= scores.len() {
        return Err(Error::Classes { case, reference, scores: scores.len() });
    }
    let mut prediction = 0;
    for (class, score) in scores.iter().enumerate() {
        if *score > scores[prediction] {
            prediction = class;
        }
    }
    Ok(Case { case, prediction, reference, scores })
}

/// The cases of one output, and their metrics.
#[derive(Clone, Debug)]
pub struct Summary {
    classes: Vec<String>,
    cases: Vec<Case>,
}

impl Summary {
    /// Without cases yet; `classes` are names, in the order of the scores.
    pub fn new(classes: Vec<String>) -> Self {
        Self { classes, cases: Vec::new() }
    }

    /// The cases, sorted by id.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Share of cases whose class is predicted.
    pub fn accuracy(&self) -> f64 {
        mean(self.cases.iter().map(METRICS[0].of))
    }

    /// Accuracy of always guessing the class that is most frequent among these cases.
    pub fn majority_rate(&self) -> f64 {
        let most = (0..self.classes.len()).map(|class| self.cases.iter().filter(|case| case.reference == class).count()).max();
        most.unwrap_or(0) as f64 / self.cases.len() as f64
    }

    /// Area under the ROC curve of `class` against all others; NaN when all cases or none are of that class.
    pub fn auc(&self, class: usize) -> f64 {
        let scores = self.cases.iter().map(|case| (case.scores.get(class).copied().unwrap_or(f64::NAN), case.reference == class));
        area_under_curve(scores.collect())
    }

    /// Mean of [`Summary::auc`] over the classes that have one (macro average, one versus rest).
    pub fn macro_auc(&self) -> f64 {
        nan_mean((0..self.classes.len()).map(|class| self.auc(class)))
    }
}

impl Summarise for Summary {
    fn measured(&self) -> usize {
        self.cases.len()
    }

    fn columns(&self) -> Vec<Column> {
        columns(&METRICS).map(|metric| Column::new("", metric, self.cases.iter())).collect()
    }

    fn write(&self, path: &Path, notes: &Notes) -> Result<(), Error> {
        let record = Record {
            auc_per_class: (0..self.classes.len()).map(|class| self.auc(class)).collect(),
            classes: &self.classes,
            mean: MeanRecord { auc: self.macro_auc(), accuracy: self.accuracy(), majority_rate: self.majority_rate() },
            metric_per_case: &self.cases,
            notes,
        };
        Ok(json::write(path, &record)?)
    }
    fn table(&self) -> String {
        let mut table = String::new();
        csv::row(&mut table, ["case", "prediction", "reference"].map(Cell::Text));
        for case in &self.cases {
            let numbers = [case.prediction, case.reference].map(|class| Cell::Number(class as f64));
            csv::row(&mut table, [Cell::Text(&case.case)].into_iter().chain(numbers));
        }
        table
    }

    fn in_words(&self) -> String {
        let (accuracy, auc, majority) = (self.accuracy(), self.macro_auc(), self.majority_rate());
        format!("accuracy {accuracy:.4}, AUC {auc:.4} (majority: accuracy {majority:.4})")
    }
}

impl Collect for Summary {
    type Case = Case;

    fn add(&mut self, case: Case) {
        let place = self.cases.partition_point(|other| other.case < case.case);
        self.cases.insert(place, case);
    }
}

/// The Mann-Whitney statistic over its maximum: from the ranks of the positives, equal scores sharing their mean rank.
fn area_under_curve(mut scores: Vec<(f64, bool)>) -> f64 {
    scores.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut rank_sum, mut positives, mut before) = (0.0, 0.0, 0.0);
    for tied in scores.chunk_by(|a, b| a.0 == b.0) {
        let size = tied.len() as f64;
        let hits = tied.iter().filter(|(_, positive)| *positive).count() as f64;
        rank_sum += hits * (before + (size + 1.0) / 2.0);
        positives += hits;
        before += size;
    }
    let negatives = before - positives;
    (rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives)
}

/// `summary.json`; fields are sorted as Python would.
#[derive(Serialize)]
struct Record<'a> {
    #[serde(rename = "AUC_per_class")]
    auc_per_class: Vec<f64>,
    classes: &'a [String],
    mean: MeanRecord,
    metric_per_case: &'a [Case],
    #[serde(flatten)]
    notes: &'a Notes,
}

#[derive(Serialize)]
struct MeanRecord {
    #[serde(rename = "AUC")]
    auc: f64,
    accuracy: f64,
    majority_rate: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(cases: &[([f64; 3], usize)]) -> Summary {
        let mut summary = Summary::new(["small", "medium", "large"].map(String::from).to_vec());
        for (number, (scores, reference)) in cases.iter().enumerate() {
            summary.add(case_metrics(format!("case_{number}"), scores.to_vec(), *reference).unwrap());
        }
        summary
    }

    /// The expected areas are sklearn's `roc_auc_score(y == class, scores[:, class])`.
    #[test]
    fn accuracy_majority_and_area_by_hand() {
        let summary =
            summary(&[([0.7, 0.2, 0.1], 0), ([0.4, 0.4, 0.2], 1), ([0.4, 0.1, 0.5], 0), ([0.1, 0.6, 0.3], 1), ([0.2, 0.3, 0.5], 0)]);
        assert_eq!(summary.accuracy(), 2.0 / 5.0);
        assert_eq!(summary.majority_rate(), 3.0 / 5.0);
        assert_eq!(summary.auc(0), 4.5 / 6.0);
        assert_eq!(summary.auc(1), 1.0);
        assert!(summary.auc(2).is_nan());
        assert_eq!(summary.macro_auc(), 0.875);
    }

    #[test]
    fn equal_scores_are_worth_a_coin() {
        assert_eq!(area_under_curve(vec![(0.5, true), (0.5, false), (0.5, false)]), 0.5);
        assert_eq!(area_under_curve(vec![(0.1, true), (0.9, false)]), 0.0);
        assert!(area_under_curve(vec![(0.1, true)]).is_nan());
    }

    #[test]
    fn a_class_without_score_is_refused() {
        let error = case_metrics("case_7".into(), vec![0.5, 0.5], 2).unwrap_err().to_string();
        assert!(error.contains("case_7") && error.contains("2 scores"), "{error}");
    }
}
