//! One class for the whole case.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use imaging::io::{JsonError, read_json};
use serde_json::Value;

use super::{Case, CaseTarget, Comparison, Declare, Form, Kind, Measure, Summary, Whole};
use crate::entry::Entry;
use crate::fault::Error;
use crate::measure::classification;
use crate::measure::record::{self, Recorded};
use crate::name::Name;

/// One class for the whole case.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Their names, in the order of their index.
    pub classes: Vec<String>,
}

impl Class {
    /// The score of every class, from the JSON that a prediction is written as.
    ///
    /// # Errors
    /// When it cannot be read, or lacks a class.
    pub fn read_scores(&self, path: &Path) -> Result<Vec<f64>, String> {
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let named: BTreeMap<String, f64> = read_json(path).map_err(|e| wrong(&e))?;
        let score = |class: &String| named.get(class).copied().ok_or_else(|| wrong(&format!("has no score for class {class:?}")));
        self.classes.iter().map(score).collect()
    }
}

impl Kind for Class {
    fn form(&self) -> Form<'_> {
        Form::Whole(self)
    }

    fn compare(&self, pair: &Comparison) -> Result<(Case, Vec<String>), String> {
        let CaseTarget::Class(reference) = pair.reference else { unreachable!("references are of the target's kind") };
        let scores = self.read_scores(pair.prediction)?;
        let case = classification::case_metrics(pair.case.to_owned(), scores, *reference).map_err(|e| e.to_string())?;
        Ok((Case::Class(case), Vec::new()))
    }

    fn summary(&self) -> Summary {
        Summary::Class(classification::Summary::new(self.classes.clone()))
    }

    fn read_summary(&self, path: &Path, _: &str) -> Result<Recorded, JsonError> {
        record::of_classes(path)
    }
}

impl Whole for Class {
    /// A class is written as its index or its name.
    fn value(&self, entry: &Entry) -> Result<CaseTarget, Error> {
        let classes = &self.classes;
        let index = match entry.value {
            Value::String(name) => classes.iter().position(|class| class == name),
            value => value.as_u64().map(|index| index as usize).filter(|index| *index < classes.len()),
        };
        index.map(CaseTarget::Class).ok_or_else(|| {
            let expected = format!("a class index from 0 to {}, or one of {}", classes.len() - 1, classes.join(", "));
            entry.wrong(&entry.value.to_string(), &expected)
        })
    }

    fn values(&self) -> String {
        self.classes.join(", ")
    }

    fn references(&self, path: &Path) -> Result<BTreeMap<String, CaseTarget>, String> {
        let wrong = |e: &dyn std::fmt::Display| format!("{}: {e}; expected a JSON object from case to class", path.display());
        let named: BTreeMap<Name, String> = read_json(path).map_err(|e| wrong(&e))?;
        let index = |(case, class): (Name, String)| match self.classes.iter().position(|known| *known == class) {
            Some(index) => Ok((case.into(), CaseTarget::Class(index))),
            None => Err(wrong(&format!("case {case} is {class:?}, but the classes are {}", self.classes.join(", ")))),
        };
        named.into_iter().map(index).collect()
    }
}

impl Declare for Class {
    const NAME: &str = "class";
    const KEYS: &[&str] = &["kind", "file", "classes", "optional"];

    fn declare(entry: &Entry) -> Result<Self, Error> {
        let expected = "a list of at least two different class names, such as [\"small\", \"large\"]";
        let entry = entry.required("classes", expected)?;
        let classes = entry.array(expected)?.iter().map(|class| entry.with_value(class).string(expected)).collect::<Result<Vec<_>, _>>()?;
        let different = classes.iter().collect::<BTreeSet<_>>().len();
        if classes.len() < 2 || different != classes.len() {
            return Err(entry.wrong(&entry.value.to_string(), expected));
        }
        Ok(Self { classes })
    }
}

impl Measure for Class {
    type Summary = classification::Summary;
}
