//! A `summary.json`, read back.

use std::collections::BTreeMap;
use std::path::Path;

use imaging::io::{JsonError, number, read_json};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::metric::{Metric, Shown};
use super::{Files, Notes, classification, nan_mean, regression, segmentation};
use crate::labels::Labels;

/// What a `summary.json` says of every case.
#[derive(Debug)]
pub struct Recorded {
    /// In the order of the file.
    pub cases: Vec<RecordedCase>,
    /// Which cases it is about.
    pub notes: Notes,
}

/// One case of a `summary.json`.
#[derive(Debug)]
pub struct RecordedCase {
    /// Its id.
    pub name: String,
    /// Those that are tested first; where there are several labels, their mean before each of them.
    pub values: Vec<RecordedValue>,
}

/// One number of a case.
#[derive(Debug)]
pub struct RecordedValue {
    /// Name of the label or region, `mean` for the mean over all, empty where there are none.
    pub label: String,
    /// Name of the metric.
    pub metric: &'static str,
    /// Whether larger values are better.
    pub larger_is_better: bool,
    /// Whether runs are tested by it.
    pub is_tested: bool,
    /// NaN where it is not defined.
    pub value: f64,
}

/// Reads the `summary.json` of label maps whose files end in `ending`.
pub(crate) fn of_label_maps(path: &Path, labels: &Labels, ending: &str) -> Result<Recorded, JsonError> {
    let names: Vec<(String, String)> =
        labels.summary_keys().into_iter().zip(labels.foreground()).map(|(key, (name, _))| (key, name)).collect();
    let record = Record::<Measured<BTreeMap<String, Numbers>>>::read(path)?;
    Ok(record
        .cases(|case| (name(&case.files, ending), compared(&segmentation::METRICS, |metric| of_labels(&case.metrics, &names, metric)))))
}

/// Reads that of maps of real values.
pub(crate) fn of_values(path: &Path, ending: &str) -> Result<Recorded, JsonError> {
    Ok(Record::<Measured<Numbers>>::read(path)?.cases(|case| {
        (name(&case.files, ending), compared(&regression::METRICS, |metric| vec![(String::new(), case.metrics.get(metric.name))]))
    }))
}

/// Reads that of classes of whole cases.
pub(crate) fn of_classes(path: &Path) -> Result<Recorded, JsonError> {
    Ok(Record::<Guess>::read(path)?.cases(|Guess { case, prediction, reference }| {
        let case = classification::Case { case: case.clone(), prediction: *prediction, reference: *reference, scores: Vec::new() };
        (case.case.clone(), compared(&classification::METRICS, |metric| vec![(String::new(), (metric.of)(&case))]))
    }))
}

/// The case that a predicted file is of.
fn name(files: &Files, ending: &str) -> String {
    let name = files.prediction.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    name.strip_suffix(ending).map(str::to_owned).unwrap_or(name)
}

#[derive(Deserialize)]
struct Record<Case> {
    metric_per_case: Vec<Case>,
    #[serde(flatten)]
    notes: Notes,
}

impl<Case: DeserializeOwned> Record<Case> {
    fn read(path: &Path) -> Result<Self, JsonError> {
        read_json(path)
    }

    fn cases(self, values: impl Fn(&Case) -> (String, Vec<RecordedValue>)) -> Recorded {
        let case = |case: &Case| {
            let (name, values) = values(case);
            RecordedCase { name, values }
        };
        Recorded { cases: self.metric_per_case.iter().map(case).collect(), notes: self.notes }
    }
}

#[derive(Deserialize)]
struct Measured<Metrics> {
    metrics: Metrics,
    #[serde(flatten)]
    files: Files,
}

/// A case of an image-level target, without its scores.
#[derive(Deserialize)]
struct Guess {
    case: String,
    prediction: usize,
    reference: usize,
}

/// Numbers by name, and whatever a later version may write beside them.
#[derive(Default, Deserialize)]
struct Numbers(BTreeMap<String, Written>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(#[serde(deserialize_with = "number")] f64),
    Other(IgnoredAny),
}

impl Numbers {
    fn get(&self, name: &str) -> f64 {
        match self.0.get(name) {
            Some(Written::Number(number)) => *number,
            Some(Written::Other(_)) | None => f64::NAN,
        }
    }
}

/// The values of all metrics that are compared, those that are tested first.
fn compared<M>(metrics: &'static [Metric<M>], of: impl Fn(&Metric<M>) -> Vec<(String, f64)>) -> Vec<RecordedValue> {
    let mut metrics: Vec<&Metric<M>> = metrics.iter().filter(|metric| metric.shown >= Shown::InComparisons).collect();
    metrics.sort_by_key(|metric| (metric.shown != Shown::Tested, metric.column));
    let mut values = Vec::new();
    for metric in metrics {
        let Some(larger_is_better) = metric.larger_is_better else { continue };
        let is_tested = metric.shown == Shown::Tested;
        let of_labels = of(metric).into_iter();
        values.extend(of_labels.map(|(label, value)| RecordedValue { label, metric: metric.name, larger_is_better, is_tested, value }));
    }
    values
}

/// The mean over labels that have a value, and the value of each. The mean of a single one is that one.
fn of_labels<M>(metrics: &BTreeMap<String, Numbers>, names: &[(String, String)], metric: &Metric<M>) -> Vec<(String, f64)> {
    // Until 2026-12 a region of one label, `(3,)`, was called `3`.
    let of = |key: &str| metrics.get(key).or_else(|| metrics.get(key.trim_matches(['(', ',', ')'])));
    let each: Vec<(String, f64)> =
        names.iter().map(|(key, name)| (name.clone(), of(key).map_or(f64::NAN, |numbers| numbers.get(metric.name)))).collect();
    let mean = nan_mean(each.iter().map(|(_, value)| *value));
    Some(("mean".to_owned(), mean)).filter(|_| each.len() > 1).into_iter().chain(each).collect()
}
