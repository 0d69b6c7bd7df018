//! What the validation of a run says of every case, read back from the summaries that it left.

use super::Error;
use data::dataset::{Description, Rules, TargetKind};
use imaging::io::JsonError;
use indexmap::IndexMap;
use plugin_api::{Kind, Output};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A run, and what it has come to.
#[derive(Debug)]
pub struct Results {
    /// What it is called beside others.
    pub name: String,
    /// Folder of the model.
    pub folder: PathBuf,
    /// What trained it: its `plugin.json` without options and outputs.
    pub plugin: Value,
    /// Names the batches that it was trained on, by fold.
    pub data_keys: Vec<String>,
    /// By output, label and metric.
    pub tables: Vec<Table>,
    /// What its summaries say of the choice of cases.
    pub notes: Vec<String>,
}

/// One metric of one label of one output, case by case.
#[derive(Debug)]
pub struct Table {
    /// The output.
    pub output: String,
    /// The target that it learnt.
    pub target: String,
    /// Name of the label or region, `mean` for the mean over all, empty where there are none.
    pub label: String,
    /// `Dice`, `MAE` or `accuracy`.
    pub metric: &'static str,
    /// By fold and case.
    pub values: IndexMap<String, f64>,
}

impl Table {
    /// Whether larger values are better.
    pub fn larger_is_better(&self) -> bool {
        self.metric != "MAE"
    }
}

impl Results {
    /// Reads the validations of `folds`, folders of one model.
    pub fn read(name: &str, folds: &[PathBuf]) -> Result<Self, Error> {
        let folder = folds.first().and_then(|fold| fold.parent()).unwrap_or(Path::new("")).to_owned();
        let plugin = read_json(&folder.join("plugin.json"))?;
        let outputs: Vec<Output> =
            serde_json::from_value(plugin["outputs"].clone()).map_err(|e| Error::broken(&folder.join("plugin.json"), &e))?;
        let dataset = folder.join("dataset.json");
        let dataset = Description::parse(&dataset, read_json(&dataset)?, Rules::Trained).map_err(|e| Error::broken(&dataset, &e))?;
        let plugin = ["id", "version", "sha256", "manifest"].iter().map(|key| ((*key).to_owned(), plugin[key].clone())).collect();
        let mut results =
            Self { name: name.to_owned(), folder: folder.clone(), plugin, data_keys: Vec::new(), tables: Vec::new(), notes: Vec::new() };
        for fold in folds {
            let debug = read_json(&fold.join("debug.json"))?;
            results.data_keys.push(debug["identity"]["data_key"].as_str().unwrap_or_default().to_owned());
            let number = fold.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            let mut first = true;
            for output in &outputs {
                let Some(target) = output.target.as_deref().filter(|_| output.kind != Kind::Aux) else { continue };
                let validation = if first { fold.join("validation") } else { fold.join("validation").join(&output.name) };
                let path = validation.join("summary.json");
                let summary = read_json(&path)?;
                if std::mem::take(&mut first) {
                    results.notes.extend(notes(&summary).into_iter().map(|note| format!("{name}, {number}: {note}")));
                }
                let cases = summary["metric_per_case"].as_array().cloned().ok_or_else(|| Error::broken(&path, &"no metric_per_case"))?;
                let names = label_names(&dataset, target);
                for case in &cases {
                    let id = format!("{number}/{}", case_name(case, &dataset.file_ending));
                    for (label, metric, value) in values(output.kind, case, &names) {
                        results.table(&output.name, target, label, metric).values.insert(id.clone(), value);
                    }
                }
            }
        }
        Ok(results)
    }

    fn table(&mut self, output: &str, target: &str, label: String, metric: &'static str) -> &mut Table {
        let found = self.tables.iter().position(|table| table.output == output && table.label == label && table.metric == metric);
        let index = found.unwrap_or_else(|| {
            let (output, target, values) = (output.to_owned(), target.to_owned(), IndexMap::new());
            self.tables.push(Table { output, target, label, metric, values });
            self.tables.len() - 1
        });
        &mut self.tables[index]
    }

    /// The table that says of this run what `other` says of its own: of the output of the same name, else of the only one that learnt the same
    /// target.
    pub fn counterpart(&self, other: &Table) -> Option<&Table> {
        let mut outputs: Vec<&str> =
            self.tables.iter().filter(|table| table.target == other.target).map(|table| table.output.as_str()).collect();
        outputs.dedup();
        let output = outputs.iter().find(|output| **output == other.output).or(if outputs.len() == 1 { outputs.first() } else { None })?;
        self.tables.iter().find(|table| table.output == **output && table.label == other.label && table.metric == other.metric)
    }
}

/// What `summary` says of the choice of its cases ([`data::evaluate::Notes`]).
fn notes(summary: &Value) -> Vec<String> {
    let share = &summary["validation_cases"];
    let some = share["measured"].as_u64().map(|measured| format!("only {measured} of {} validation cases were measured", share["all"]));
    let split = summary["split"].as_str().map(|split| format!("its split is {split}"));
    some.into_iter().chain(split).collect()
}

/// Key in `summary.json` and name of the labels or regions of `target`, in their order; none for other targets.
fn label_names(dataset: &Description, target: &str) -> Vec<(String, String)> {
    match dataset.targets.get(target).map(|target| &target.kind) {
        Some(TargetKind::Labels(labels)) => {
            labels.summary_keys().into_iter().zip(labels.foreground()).map(|(key, (name, _))| (key, name)).collect()
        }
        _ => Vec::new(),
    }
}

/// What a case's record says: label, metric, value.
fn values(kind: Kind, case: &Value, names: &[(String, String)]) -> Vec<(String, &'static str, f64)> {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    match kind {
        Kind::Labels | Kind::Regions => {
            let labels: Vec<(&String, f64)> = names.iter().map(|(key, name)| (name, number(&of_label(case, key)["Dice"]))).collect();
            let present: Vec<f64> = labels.iter().map(|(_, dice)| *dice).filter(|dice| dice.is_finite()).collect();
            let mean = present.iter().sum::<f64>() / present.len() as f64;
            let named = labels.iter().map(|(name, dice)| ((*name).clone(), "Dice", *dice));
            // The mean of a single one is that one.
            let mean = Some(("mean".to_owned(), "Dice", mean)).filter(|_| labels.len() > 1);
            mean.into_iter().chain(named).collect()
        }
        Kind::Regression => vec![(String::new(), "MAE", number(&case["metrics"]["MAE"]))],
        _ => vec![(String::new(), "accuracy", f64::from(u8::from(case["prediction"] == case["reference"])))],
    }
}

/// The metrics of a label or region. Until 2026-12 a region of one label, `(3,)`, was called `3`.
fn of_label<'a>(case: &'a Value, key: &str) -> &'a Value {
    let metrics = &case["metrics"];
    metrics.get(key).unwrap_or(&metrics[key.trim_matches(['(', ',', ')'])])
}

fn case_name(case: &Value, ending: &str) -> String {
    let file = case["prediction_file"].as_str().and_then(|path| Path::new(path).file_name()?.to_str());
    let name = file.or(case["case"].as_str()).unwrap_or_default();
    name.strip_suffix(ending).unwrap_or(name).to_owned()
}

fn read_json(path: &Path) -> Result<Value, Error> {
    imaging::io::read_json(path).map_err(|error| match error {
        JsonError::Read(error) => Error::missing(path, &error),
        other => Error::broken(path, &other),
    })
}
