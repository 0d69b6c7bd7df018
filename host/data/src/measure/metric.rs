//! What a number of a measured case is called, and what it says. Every kind of target has one list of these: `summary.json`, `cases.csv`,
//! the console, a run's log and comparisons are made from it. Over cases all numbers are combined alike: their mean, NaN left out.

use serde::ser::{Serialize, SerializeMap, Serializer};

/// One number of a measured case, of whose kind `Measured` is.
#[derive(Debug)]
pub struct Metric<Measured: 'static> {
    /// In files and on the console.
    pub name: &'static str,
    /// The number.
    pub of: fn(&Measured) -> f64,
    /// A number of voxels, which a case's record has without a point.
    pub is_count: bool,
    /// Whether larger values are better; `None` where that cannot be said.
    pub larger_is_better: Option<bool>,
    /// Its place among the columns of `cases.csv` and on the console; `None` where it is only in `summary.json`.
    pub column: Option<u8>,
    /// Who sees it.
    pub shown: Shown,
}

/// Who sees a metric, beside those who open the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// Nobody.
    InFiles,
    /// Whoever compares runs.
    InComparisons,
    /// And whoever evaluates predictions.
    OnConsole,
    /// And comparisons test whether one run is better by it.
    Tested,
}

/// Numbers by name, as a file has them.
#[derive(Debug, Default)]
pub struct Numbers(Vec<(&'static str, f64, bool)>);

impl Numbers {
    /// Those of a case: counts are integers.
    pub fn of_case<M>(metrics: &'static [Metric<M>], measured: &M) -> Self {
        Self(metrics.iter().map(|metric| (metric.name, (metric.of)(measured), metric.is_count)).collect())
    }

    /// Means over cases.
    pub fn of_means<M>(metrics: &'static [Metric<M>], mean: impl Fn(&Metric<M>) -> f64) -> Self {
        Self(metrics.iter().map(|metric| (metric.name, mean(metric), false)).collect())
    }

    /// Adds a number that no case has.
    pub fn push(&mut self, name: &'static str, number: f64) {
        self.0.push((name, number, false));
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, number, is_count) in &self.0 {
            match is_count {
                true => map.serialize_entry(name, &(*number as u64))?,
                false => map.serialize_entry(name, number)?,
            }
        }
        map.end()
    }
}

/// Those that have a column, in the order of columns.
pub fn columns<Measured>(metrics: &'static [Metric<Measured>]) -> impl Iterator<Item = &'static Metric<Measured>> {
    let mut columns: Vec<_> = metrics.iter().filter(|metric| metric.column.is_some()).collect();
    columns.sort_by_key(|metric| metric.column);
    columns.into_iter()
}

/// One metric of one label, case by case.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name of the label or region; empty where there are none.
    pub label: String,
    /// Name of the metric.
    pub metric: &'static str,
    /// Whether larger values are better; `None` where that cannot be said.
    pub larger_is_better: Option<bool>,
    /// Who sees it.
    pub shown: Shown,
    /// One value a case.
    pub values: Vec<f64>,
}

impl Column {
    /// `metric` of `label` in all of `cases`.
    pub fn new<'a, M: 'static>(label: &str, metric: &Metric<M>, cases: impl Iterator<Item = &'a M>) -> Self {
        let Metric { name, of, larger_is_better, shown, .. } = *metric;
        Self { label: label.to_owned(), metric: name, larger_is_better, shown, values: cases.map(of).collect() }
    }
}
