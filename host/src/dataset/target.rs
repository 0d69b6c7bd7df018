//! Named targets: the key `targets` of `dataset.json`, which nnU-Net ignores.

use super::description::Entry;
use super::{Error, Labels, hint};

const KINDS: [&str; 5] = ["labels", "regression", "class", "weight", "derived"];

/// One thing that is to be learned from a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// What it consists of.
    pub kind: TargetKind,
    /// Whether cases may lack it.
    pub optional: bool,
    /// Where its files are, relative to the data set's folder: a folder of maps, or one JSON file of classes.
    pub(super) location: String,
}

/// What a target consists of.
#[derive(Clone, Debug, PartialEq)]
pub enum TargetKind {
    /// A label map.
    Labels(Labels),
    /// Real numbers at every voxel.
    Regression {
        /// Numbers a voxel.
        channels: usize,
        /// Value outside the image.
        pad: f32,
    },
    /// One class for the whole case.
    Class {
        /// Their names, in the order of their index.
        classes: Vec<String>,
    },
}

impl Target {
    /// The label map of `labelsTr`.
    pub(super) fn segmentation(labels: Labels) -> Self {
        Self { kind: TargetKind::Labels(labels), optional: false, location: "labelsTr".to_owned() }
    }

    /// Reads one entry of `targets`.
    pub(super) fn parse(name: &str, entry: &Entry) -> Result<Self, Error> {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || !name.chars().all(valid) {
            return Err(entry.wrong(&format!("named {name:?}"), "a name of letters, digits, _ and - (it becomes a folder name)"));
        }
        if name == super::SEGMENTATION {
            return Err(entry.wrong("declared", "another name: the label map of labelsTr is the target \"segmentation\""));
        }
        entry.object("an object such as {\"kind\": \"labels\", …}")?;
        let expected = "one of \"labels\", \"regression\", \"class\"";
        let kind_entry = entry.required("kind", expected)?;
        let kind = kind_entry.string(expected)?;
        let folder = |entry: &Entry| -> Result<String, Error> {
            let folder = entry.get("folder").map(|folder| folder.file_name()).transpose()?;
            Ok(format!("targetsTr/{}", folder.as_deref().unwrap_or(name)))
        };
        let (kind, location) = match kind.as_str() {
            "labels" => {
                entry.only(&["kind", "folder", "labels", "regions_class_order", "optional"])?;
                (TargetKind::Labels(Labels::parse(entry)?), folder(entry)?)
            }
            "regression" => {
                entry.only(&["kind", "folder", "channels", "pad", "vectors", "optional"])?;
                if let Some(vectors) = entry.get("vectors")
                    && vectors.boolean()?
                {
                    return Err(vectors.not_there("vectors that are turned with space"));
                }
                (regression(entry)?, folder(entry)?)
            }
            "class" => {
                entry.only(&["kind", "file", "classes", "optional"])?;
                let file = entry.get("file").map(|file| file.file_name()).transpose()?;
                let file = file.unwrap_or_else(|| format!("{name}.json"));
                (TargetKind::Class { classes: classes(entry)? }, format!("targetsTr/{file}"))
            }
            "weight" => return Err(kind_entry.not_there("voxel weights")),
            "derived" => return Err(kind_entry.not_there("derived targets")),
            other => return Err(kind_entry.unknown(&format!("{other:?}"), hint(other, KINDS))),
        };
        let optional = entry.get("optional").map(|optional| optional.boolean()).transpose()?.unwrap_or(false);
        Ok(Self { kind, optional, location })
    }
}

fn regression(entry: &Entry) -> Result<TargetKind, Error> {
    let channels = match entry.get("channels") {
        None => 1,
        Some(channels) => match channels.value.as_u64() {
            Some(n @ 1..=1024) => n as usize,
            _ => return Err(channels.wrong(&channels.value.to_string(), "the number of channels, from 1 to 1024")),
        },
    };
    let pad = match entry.get("pad") {
        None => 0.0,
        Some(pad) => match pad.value.as_f64() {
            Some(value) if (value as f32).is_finite() => value as f32,
            _ => return Err(pad.wrong(&pad.value.to_string(), "a number: the value outside the image")),
        },
    };
    Ok(TargetKind::Regression { channels, pad })
}

fn classes(entry: &Entry) -> Result<Vec<String>, Error> {
    let expected = "a list of at least two different class names, such as [\"small\", \"large\"]";
    let entry = entry.required("classes", expected)?;
    let classes = entry.array(expected)?.iter().map(|class| entry.with_value(class).string(expected)).collect::<Result<Vec<_>, _>>()?;
    let different = classes.iter().collect::<std::collections::BTreeSet<_>>().len();
    if classes.len() < 2 || different != classes.len() {
        return Err(entry.wrong(&entry.value.to_string(), expected));
    }
    Ok(classes)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn parse(value: Value) -> Result<Target, String> {
        let targets = json!({"t": value});
        let root = Entry::root(Path::new("dataset.json"), &targets);
        Target::parse("t", &root.get("t").expect("there")).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind() {
        let labels = parse(json!({"kind": "labels", "folder": "whole", "labels": {"background": 0, "a": 1}, "optional": true}));
        let labels = labels.expect("valid");
        assert!(labels.optional && labels.location == "targetsTr/whole");
        assert!(matches!(labels.kind, TargetKind::Labels(labels) if labels.channels() == 2));
        let regression = parse(json!({"kind": "regression", "channels": 3, "pad": 10})).expect("valid");
        assert_eq!(regression.kind, TargetKind::Regression { channels: 3, pad: 10.0 });
        assert_eq!(regression.location, "targetsTr/t");
        let class = parse(json!({"kind": "class", "file": "f.json", "classes": ["a", "b"]})).expect("valid");
        assert_eq!(class.location, "targetsTr/f.json");
    }

    #[test]
    fn broken_entries_name_the_nearest() {
        for (value, part) in [
            (json!({"kind": "label"}), "did you mean \"labels\"?"),
            (json!({"kind": "weight", "of": "segmentation"}), "voxel weights, which this version does not have"),
            (json!({"kind": "derived"}), "derived targets, which this version does not have"),
            (json!({"kind": "regression", "vectors": true}), "vectors that are turned with space"),
            (json!({"kind": "regression", "chanels": 1}), "t.chanels is unknown; did you mean \"channels\"?"),
            (json!({"kind": "regression", "channels": 0}), "from 1 to 1024"),
            (json!({"kind": "regression", "folder": "../up"}), "t.folder is \"../up\""),
            (json!({"kind": "class", "classes": ["a", "a"]}), "two different class names"),
            (json!({"folder": "x"}), "t.kind is missing"),
            (json!(3), "t is 3"),
        ] {
            let message = parse(value.clone()).expect_err("must be refused");
            assert!(message.contains(part), "{value}: {message}");
        }
    }
}
