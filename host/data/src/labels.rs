//! Labels, regions and ignore label of a label map, by the rules of nnU-Net's `LabelManager`.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde_json::Value;

use crate::entry::{Entry, Rules};
use crate::fault::Error;

/// What the values of a label map mean.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Label values of every name, in the order of the file, background included, ignore label not. More than one value
    /// makes a region.
    pub names: IndexMap<String, Vec<i16>>,
    /// Names whose values the file has as a list, be it of one.
    pub lists: BTreeSet<String>,
    /// Value of voxels that are not annotated: one above the highest label.
    pub ignore: Option<i16>,
    /// With regions: the label that each region paints at export, in the order of [`Labels::foreground`]; later ones win.
    pub region_order: Option<Vec<i16>>,
}

/// Data keys are hashes of this text among others, so it stays as it is: how the file writes a single value changes no batch.
impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { names, lists: _, ignore, region_order } = self;
        f.debug_struct("Labels").field("names", names).field("ignore", ignore).field("region_order", region_order).finish()
    }
}

impl Labels {
    /// Whether any name has several values; the network then has one sigmoid channel a region instead of a softmax.
    pub fn has_regions(&self) -> bool {
        self.names.values().any(|values| values.len() > 1)
    }

    /// What stands for the class with this value in a label map that is predicted without regions: the number of its channel, as nnU-Net has
    /// it, which is the value itself where [values are consecutive](Self::are_consecutive).
    pub fn predicted(&self, value: i16) -> i16 {
        match self.values().binary_search(&value) {
            Ok(channel) if !self.has_regions() => channel as i16,
            _ => value,
        }
    }

    /// What a model makes of plain labels whose values have a gap, in words; `None` where they have none.
    pub fn gap(&self) -> Option<String> {
        (!self.has_regions() && !self.are_consecutive()).then(|| {
            format!(
                "label values are {}, with a gap; as nnU-Net writes it, a predicted label map has the number of the class's channel instead",
                self.summary()
            )
        })
    }

    /// Whether label values are 0, 1, 2, …
    pub fn are_consecutive(&self) -> bool {
        self.values().iter().enumerate().all(|(index, value)| usize::try_from(*value) == Ok(index))
    }

    /// All label values, sorted, with 0, without the ignore label.
    pub fn values(&self) -> Vec<i16> {
        let values: BTreeSet<i16> = self.names.values().flatten().copied().collect();
        values.into_iter().collect()
    }

    /// Channels of the network's output: classes with background, or regions without.
    pub fn channels(&self) -> usize {
        if self.has_regions() { self.foreground().len() } else { self.values().len() }
    }

    /// Channels of a target: one of labels; of regions one for each, and one more that says where the ignore label is.
    pub fn target_channels(&self) -> usize {
        if self.has_regions() { self.channels() + usize::from(self.ignore.is_some()) } else { 1 }
    }

    /// Name and label values of every class or region that is trained and evaluated: classes in the order of their value
    /// (that of class `i` is network channel `i + 1`), regions in the order of the file (channel `i`).
    pub fn foreground(&self) -> Vec<(String, Vec<i16>)> {
        let mut foreground: Vec<_> = self
            .names
            .iter()
            .filter(|(_, values)| values.iter().any(|value| *value != 0))
            .map(|(name, values)| (name.clone(), values.clone()))
            .collect();
        if !self.has_regions() {
            foreground.sort_by_key(|(_, values)| values[0]);
            // A class may have several names.
            foreground.dedup_by_key(|(_, values)| values[0]);
        }
        foreground
    }

    /// What nnU-Net calls each of the [foreground](Self::foreground) in `summary.json`: Python's `str` of a label value, or of the tuple of
    /// a region's.
    pub fn summary_keys(&self) -> Vec<String> {
        let has_regions = self.has_regions();
        let key = |(name, values): (String, Vec<i16>)| match values[..] {
            [value] if has_regions && self.lists.contains(&name) => format!("({value},)"),
            [value] => value.to_string(),
            _ => format!("({})", values.iter().map(i16::to_string).collect::<Vec<_>>().join(", ")),
        };
        self.foreground().into_iter().map(key).collect()
    }

    /// Names with their values, for messages: `background (0), left (1), ignore (2)`.
    pub fn summary(&self) -> String {
        let join = |values: &[i16]| values.iter().map(i16::to_string).collect::<Vec<_>>().join(", ");
        let mut parts: Vec<_> = self.names.iter().map(|(name, values)| format!("{name} ({})", join(values))).collect();
        parts.extend(self.ignore.map(|value| format!("ignore ({value})")));
        parts.join(", ")
    }

    /// Reads the keys `labels` and `regions_class_order` of `parent`.
    pub(crate) fn parse(parent: &Entry) -> Result<Self, Error> {
        let entry = parent.required("labels", "an object such as {\"background\": 0, \"organ\": 1}")?;
        let mut names = IndexMap::new();
        let mut lists = BTreeSet::new();
        let mut ignore = None;
        for (name, value) in entry.object("an object such as {\"background\": 0, \"organ\": 1}")? {
            let value = entry.child(name, value);
            if name == "ignore" && value.value.is_null() {
                // As good as no entry.
            } else if name == "ignore" {
                ignore = Some(label_value(&value, "one label value (the ignore label cannot be a region)")?);
            } else {
                names.insert(name.clone(), label_values(&value)?);
                if value.value.is_array() {
                    lists.insert(name.clone());
                }
            }
        }
        match names.get("background").map(Vec::as_slice) {
            Some([0]) => {}
            Some(other) => return Err(entry.wrong(&format!("background = {other:?}"), "background to be 0")),
            None => {
                let found = names.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(entry.wrong(&format!("without background ({found})"), "\"background\": 0 among the labels"));
            }
        }
        let region_order = match parent.get("regions_class_order") {
            Some(order) => Some(
                order
                    .array("a list of label values, one for each region")?
                    .iter()
                    .map(|value| label_value(&order.with_value(value), "a list of label values, one for each region"))
                    .collect::<Result<Vec<_>, _>>()?,
            ),
            None => None,
        };
        let labels = Self { names, lists, ignore, region_order };
        labels.check(&entry)?;
        Ok(labels)
    }

    fn check(&self, entry: &Entry) -> Result<(), Error> {
        let values = self.values();
        if entry.rules() == Rules::Training && !self.are_consecutive() {
            return Err(entry.wrong(&format!("values {values:?}"), "consecutive label values 0, 1, 2, …"));
        }
        let above = values.last().map_or(1, |highest| i32::from(*highest) + 1);
        if let Some(ignore) = self.ignore
            && i32::from(ignore) != above
        {
            let expected = format!("ignore to be {above}, one above the highest label");
            return Err(entry.wrong(&format!("ignore = {ignore}"), &expected));
        }
        if self.has_regions() {
            let regions = self.foreground().len();
            let found = self.region_order.as_ref().map(Vec::len);
            if found != Some(regions) {
                let found = found.map_or_else(|| "no regions_class_order".to_owned(), |n| format!("{n} entries of regions_class_order"));
                let expected = format!("regions_class_order with {regions} entries, one for each region in the order of labels");
                return Err(entry.wrong(&format!("regions with {found}"), &expected));
            }
        }
        Ok(())
    }
}

fn label_values(entry: &Entry) -> Result<Vec<i16>, Error> {
    const EXPECTED: &str = "a label value (a whole number from 0 to 32767) or a list of them";
    match entry.value {
        Value::Array(values) if !values.is_empty() => values.iter().map(|value| label_value(&entry.with_value(value), EXPECTED)).collect(),
        _ => Ok(vec![label_value(entry, EXPECTED)?]),
    }
}

/// A label value as nnU-Net takes it, by Python's `int`: a number, be it written as `1.0`, or text that is one.
fn label_value(entry: &Entry, expected: &str) -> Result<i16, Error> {
    let number = match entry.value {
        Value::Number(number) => number.as_f64().filter(|number| number.fract() == 0.0),
        Value::String(text) => text.trim().parse::<u16>().ok().map(f64::from),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        _ => None,
    };
    let value = number.filter(|number| (0.0..=f64::from(i16::MAX)).contains(number)).map(|number| number as i16);
    value.ok_or_else(|| entry.wrong(&entry.value.to_string(), expected))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<Labels, String> {
        Labels::parse(&Entry::root(Path::new("dataset.json"), &value)).map_err(|error| error.to_string())
    }

    #[test]
    fn classes() {
        let labels = parse(json!({"labels": {"background": 0, "b": 2, "a": 1, "ignore": 3}})).expect("valid");
        assert!(!labels.has_regions());
        assert_eq!(labels.values(), [0, 1, 2]);
        assert_eq!(labels.channels(), 3);
        assert_eq!(labels.foreground(), [("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])]);
        assert_eq!(labels.ignore, Some(3));
    }

    #[test]
    fn regions() {
        let labels = parse(json!({
            "labels": {"background": 0, "whole": [1, 2, 3], "core": [3], "enhancing": 2},
            "regions_class_order": [1, 2, 3]
        }))
        .expect("valid");
        let key = r#"Labels { names: {"background": [0], "whole": [1, 2, 3], "core": [3], "enhancing": [2]}, ignore: None, region_order: Some([1, 2, 3]) }"#;
        assert_eq!(format!("{labels:?}"), key, "another text is another data key, and no run goes on");
        // As Python's str has them.
        assert_eq!(labels.summary_keys(), ["(1, 2, 3)", "(3,)", "2"]);
        assert!(labels.has_regions());
        assert_eq!(labels.channels(), 3);
        assert_eq!(labels.foreground()[1], ("core".to_owned(), vec![3]));
        assert_eq!(labels.region_order, Some(vec![1, 2, 3]));
    }

    #[test]
    fn values_are_what_python_takes_for_them() {
        let labels = parse(json!({"labels": {"background": "0", "a": 1.0, "b": " 2", "also_b": [2.0], "c": [3], "ignore": null}}));
        let labels = labels.expect("valid");
        assert_eq!((labels.values(), labels.ignore), (vec![0, 1, 2, 3], None));
        let foreground: Vec<(String, Vec<i16>)> =
            [("a", 1), ("b", 2), ("c", 3)].map(|(name, value)| (name.to_owned(), vec![value])).to_vec();
        assert_eq!(labels.foreground(), foreground);
        assert_eq!(labels.channels(), 4);
    }

    #[test]
    fn a_trained_models_labels_may_have_gaps_and_any_order() {
        let of_model = |value: Value| {
            let root = Entry::root(Path::new("dataset.json"), &value).held_to(Rules::Trained);
            Labels::parse(&root).map_err(|error| error.to_string())
        };
        let labels = of_model(json!({"labels": {"background": 0, "c": 4, "a": 1, "ignore": 5}})).expect("a model");
        assert!(!labels.are_consecutive());
        assert_eq!(labels.channels(), 3);
        let labels = of_model(json!({"labels": {"background": 0, "whole": [4, 1, 2], "core": [4, 1]}, "regions_class_order": [2, 1]}));
        assert_eq!(labels.expect("a model").channels(), 2);
        assert!(
            of_model(json!({"labels": {"background": 0, "a": 1, "ignore": 5}})).is_err_and(|message| message.contains("ignore to be 2"))
        );
    }

    #[test]
    fn broken_labels_are_refused() {
        for (value, part) in [
            (json!({}), "labels is missing"),
            (json!({"labels": {"a": 1}}), "without background"),
            (json!({"labels": {"background": 1, "a": 0}}), "background to be 0"),
            (json!({"labels": {"background": 0, "a": 2}}), "consecutive"),
            (json!({"labels": {"background": 0, "a": "one"}}), "labels.a is \"one\""),
            (json!({"labels": {"background": 0, "a": 1.5}}), "labels.a is 1.5"),
            (json!({"labels": {"background": 0, "a": -1}}), "labels.a is -1"),
            (json!({"labels": {"background": 0, "ignore": 1, "a": 2}}), "consecutive"),
            (json!({"labels": {"background": 0, "a": 1, "ignore": 5}}), "ignore to be 2"),
            (json!({"labels": {"background": 0, "a": [1, 2]}}), "no regions_class_order"),
        ] {
            let message = parse(value.clone()).expect_err("must be refused");
            assert!(message.contains(part), "{value}: {message}");
        }
    }
}
