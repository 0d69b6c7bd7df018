//! What the validation of a run says of every case, read back from the summaries that it left.

use super::Error;
use data::dataset::{Description, Rules};
use data::measure::record::{Recorded, RecordedValue};
use data::measure::{Notes, Share};
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
    /// Its name.
    pub metric: &'static str,
    /// Whether larger values are better.
    pub larger_is_better: bool,
    /// Whether runs are tested by it.
    pub is_tested: bool,
    /// By fold and case.
    pub values: IndexMap<String, f64>,
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
            let validation = fold.join("validation");
            let (mut first, mut noted) = (true, false);
            for output in &outputs {
                let Some(target) = output.target.as_deref().filter(|_| output.kind != Kind::Aux) else { continue };
                let folder = if std::mem::take(&mut first) { validation.clone() } else { validation.join(&output.name) };
                // What a plugin makes has no reference, and its summary no case.
                let Some(kind) = dataset.targets.get(target).map(|target| &target.kind) else { continue };
                let path = folder.join("summary.json");
                let Recorded { cases, notes } =
                    kind.read_summary(&path, &dataset.file_ending).map_err(|error| Error::of_json(&path, error))?;
                if !std::mem::replace(&mut noted, true) {
                    results.notes.extend(in_words(&notes).into_iter().map(|note| format!("{name}, {number}: {note}")));
                }
                for case in cases {
                    let id = format!("{number}/{}", case.name);
                    for value in case.values {
                        let number = value.value;
                        results.table(&output.name, target, value).values.insert(id.clone(), number);
                    }
                }
            }
        }
        Ok(results)
    }

    fn table(&mut self, output: &str, target: &str, of: RecordedValue) -> &mut Table {
        let found = self.tables.iter().position(|table| table.output == output && table.label == of.label && table.metric == of.metric);
        let index = found.unwrap_or_else(|| {
            let RecordedValue { label, metric, larger_is_better, is_tested, .. } = of;
            let (output, target, values) = (output.to_owned(), target.to_owned(), IndexMap::new());
            self.tables.push(Table { output, target, label, metric, larger_is_better, is_tested, values });
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

/// What a summary says of the choice of its cases.
fn in_words(notes: &Notes) -> Vec<String> {
    let some = notes.validation_cases.map(|Share { all, measured }| format!("only {measured} of {all} validation cases were measured"));
    let split = notes.split.as_ref().map(|split| format!("its split is {split}"));
    some.into_iter().chain(split).collect()
}

fn read_json(path: &Path) -> Result<Value, Error> {
    imaging::io::read_json(path).map_err(|error| Error::of_json(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn outputs_behind_one_whose_target_the_plugin_makes_are_found() {
        let model = tempfile::tempdir().unwrap();
        let write = |name: &str, value: Value| {
            let path = model.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, value.to_string()).unwrap();
        };
        let output = |name: &str, target: &str| json!({"name": name, "target": target, "kind": "labels", "channels": 2, "levels": 1});
        write("plugin.json", json!({"outputs": [output("edges", "made"), output("parts", "segmentation")]}));
        let labels = json!({"background": 0, "ball": 1});
        write("dataset.json", json!({"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}));
        write("fold_0/debug.json", json!({"identity": {"data_key": "key"}}));
        write("fold_0/validation/summary.json", json!({"metric_per_case": []}));
        let case = json!({"prediction_file": "case_1.nii.gz", "reference_file": "x", "metrics": {"1": {"Dice": 0.5, "new": ["of later"]}}});
        write("fold_0/validation/parts/summary.json", json!({"metric_per_case": [case], "split": "0"}));

        let results = Results::read("a", &[model.path().join("fold_0")]).unwrap();
        let dice = &results.tables[0];
        assert_eq!((dice.output.as_str(), dice.metric, dice.values["fold_0/case_1"]), ("parts", "Dice", 0.5));
    }
}
