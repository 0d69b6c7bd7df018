//! Named targets: the key `targets` of `dataset.json`, which nnU-Net ignores.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::{Error, Labels, TargetKind};
use crate::entry::Entry;
use crate::kinds::Regression;
use crate::nearest::hint;

/// What a `kind` may also be in `dataset.json`: targets that are of a kind, but not declared by it.
const FURTHER: [&str; 2] = ["weight", "derived"];

/// One thing that is to be learned from a case.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// What it consists of.
    pub kind: TargetKind,
    /// Where it comes from.
    pub source: TargetSource,
    /// Whether cases may lack it.
    pub optional: bool,
    /// The target whose voxels it weighs, if it is a map of weights.
    pub weighs: Option<String>,
}

/// Where a target comes from. Places are relative to the data set's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetSource {
    /// A folder with one map a case.
    Maps(String),
    /// One JSON file from case to value.
    OneFile(String),
    /// Another target, when a patch is made; there are no files.
    Derived {
        /// The labels target.
        from: String,
        /// How.
        operation: Operation,
    },
}

/// How a target follows from a label map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Distance to the border of the foreground in mm, negative inside.
    SignedDistance,
    /// Foreground voxels that touch another label.
    Boundary,
    /// Centre lines of the foreground.
    Skeleton,
    /// These labels only, by name.
    Subset(Vec<String>),
}

impl Operation {
    /// What comes out of it.
    fn kind(&self) -> TargetKind {
        let labels = |foreground: &[String]| {
            let names = std::iter::once("background").chain(foreground.iter().map(String::as_str));
            let names = names.enumerate().map(|(value, name)| (name.to_owned(), vec![value as i16])).collect();
            TargetKind::Labels(Labels { names, ..Labels::default() })
        };
        match self {
            Self::SignedDistance => one_number(),
            Self::Boundary => labels(&["boundary".to_owned()]),
            Self::Skeleton => labels(&["skeleton".to_owned()]),
            Self::Subset(names) => labels(names),
        }
    }
}

/// One real number at every voxel, 0 outside the image.
fn one_number() -> TargetKind {
    TargetKind::Regression(Regression { channels: 1, pad: 0.0, vectors: false })
}

/// Whether a target may be called this: it becomes a folder name.
pub fn is_target_name(name: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    // Zarr keeps names that begin with two underscores for itself.
    !name.is_empty() && !name.starts_with("__") && name.chars().all(valid)
}

const OPERATIONS: [&str; 4] = ["signed_distance", "boundary", "skeleton", "subset"];

impl Target {
    /// The label map of `labelsTr`.
    pub(super) fn segmentation(labels: Labels) -> Self {
        let source = TargetSource::Maps("labelsTr".to_owned());
        Self { kind: TargetKind::Labels(labels), source, optional: false, weighs: None }
    }

    /// Whether there are label maps of it in files.
    pub fn is_label_map(&self) -> bool {
        self.kind.labels().is_some() && matches!(self.source, TargetSource::Maps(_))
    }

    /// Reads one entry of `targets`.
    pub(super) fn parse(name: &str, entry: &Entry) -> Result<Self, Error> {
        if !is_target_name(name) {
            return Err(entry.wrong(&format!("named {name:?}"), "a name of letters, digits, _ and - (it becomes a folder name)"));
        }
        if name == super::SEGMENTATION {
            return Err(entry.wrong("declared", "another name: the label map of labelsTr is the target \"segmentation\""));
        }
        entry.object("an object such as {\"kind\": \"labels\", …}")?;
        let kinds = || TargetKind::NAMES.iter().chain(&FURTHER).copied();
        let expected = format!("one of {}", kinds().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(", "));
        let kind_entry = entry.required("kind", &expected)?;
        let kind = kind_entry.string(&expected)?;
        let place = |key: &str, usual: &str| -> Result<String, Error> {
            let given = entry.get(key).map(|place| place.file_name()).transpose()?;
            Ok(format!("targetsTr/{}", given.as_deref().unwrap_or(usual)))
        };
        let mut weighs = None;
        let (kind, source) = match kind.as_str() {
            "weight" => {
                entry.only(&["kind", "folder", "of", "optional"])?;
                let expected = "the target whose voxels are weighted, such as \"segmentation\"";
                weighs = Some(entry.required("of", expected)?.string(expected)?);
                // What is outside the image counts for nothing.
                (one_number(), TargetSource::Maps(place("folder", name)?))
            }
            "derived" => {
                entry.only(&["kind", "from", "op", "labels"])?;
                let expected = "the labels target that it is computed from, such as \"segmentation\"";
                let from = entry.required("from", expected)?.string(expected)?;
                let operation = operation(entry)?;
                (operation.kind(), TargetSource::Derived { from, operation })
            }
            kind => match TargetKind::declare(kind, entry)? {
                Some(kind) if kind.is_dense() => (kind, TargetSource::Maps(place("folder", name)?)),
                Some(kind) => (kind, TargetSource::OneFile(place("file", &format!("{name}.json"))?)),
                None => return Err(kind_entry.unknown(&format!("{kind:?}"), hint(kind, kinds()))),
            },
        };
        let optional = entry.get("optional").map(|optional| optional.boolean()).transpose()?.unwrap_or(false);
        Ok(Self { kind, source, optional, weighs })
    }
}

fn operation(entry: &Entry) -> Result<Operation, Error> {
    let expected = "one of \"signed_distance\", \"boundary\", \"skeleton\", \"subset\"";
    let op = entry.required("op", expected)?;
    let name = op.string(expected)?;
    let expected = "a list of names of labels, for \"op\": \"subset\" only";
    match (name.as_str(), entry.get("labels")) {
        ("subset", _) => {
            let labels = entry.required("labels", expected)?;
            let names = labels.array(expected)?.iter().map(|name| labels.with_value(name).string(expected));
            match names.collect::<Result<Vec<_>, _>>()? {
                names if names.is_empty() => Err(labels.wrong("empty", expected)),
                names if names.iter().any(|name| name == "background") => Err(labels.wrong("with background", "foreground labels only")),
                names if names.iter().collect::<BTreeSet<_>>().len() < names.len() => {
                    Err(labels.wrong(&labels.value.to_string(), "every label once"))
                }
                names => Ok(Operation::Subset(names)),
            }
        }
        (_, Some(labels)) => Err(labels.wrong("given", expected)),
        ("signed_distance", None) => Ok(Operation::SignedDistance),
        ("boundary", None) => Ok(Operation::Boundary),
        ("skeleton", None) => Ok(Operation::Skeleton),
        (other, None) => Err(op.unknown(&format!("{other:?}"), hint(other, OPERATIONS))),
    }
}

/// Checks what targets say of each other; `entry` is the one of all targets.
pub(super) fn check_references(targets: &IndexMap<String, Target>, entry: &Entry) -> Result<(), Error> {
    for (name, target) in targets {
        let Some(own) = entry.get(name) else { continue };
        if let Some(of) = &target.weighs {
            refer(&own, "of", of, targets, |target| target.weighs.is_none() && target.kind.is_dense())?;
        }
        if let TargetSource::Derived { from, operation } = &target.source {
            let Some(labels) = refer(&own, "from", from, targets, Target::is_label_map)?.kind.labels() else { continue };
            if let Operation::Subset(wanted) = operation
                && let Some(unknown) = wanted.iter().find(|label| !labels.names.contains_key(*label))
            {
                return Err(own.unknown(&format!("label {unknown:?}"), hint(unknown, labels.names.keys().map(String::as_str))));
            }
        }
    }
    Ok(())
}

/// Cases that lack a target lack what is derived from it, too.
pub(super) fn inherit_optional(targets: &mut IndexMap<String, Target>) {
    let optional: BTreeSet<String> = targets.iter().filter(|(_, target)| target.optional).map(|(name, _)| name.clone()).collect();
    for target in targets.values_mut() {
        if let TargetSource::Derived { from, .. } = &target.source {
            target.optional = optional.contains(from);
        }
    }
}

/// The target called `name` at the key `key` of `entry`, if it is one that `fits`.
fn refer<'a>(
    entry: &Entry,
    key: &str,
    name: &str,
    targets: &'a IndexMap<String, Target>,
    fits: impl Fn(&Target) -> bool,
) -> Result<&'a Target, Error> {
    let place = entry.required(key, "the name of a target")?;
    let possible: Vec<&str> = targets.iter().filter(|(_, target)| fits(target)).map(|(name, _)| name.as_str()).collect();
    targets.get(name).filter(|target| fits(target)).ok_or_else(|| place.unknown(&format!("{name:?}"), hint(name, possible)))
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
        assert!(labels.optional && labels.source == TargetSource::Maps("targetsTr/whole".to_owned()));
        assert!(matches!(labels.kind, TargetKind::Labels(labels) if labels.channels() == 2));
        let regression = parse(json!({"kind": "regression", "channels": 3, "pad": 10})).expect("valid");
        assert_eq!(regression.kind, TargetKind::Regression(Regression { channels: 3, pad: 10.0, vectors: false }));
        assert_eq!(regression.source, TargetSource::Maps("targetsTr/t".to_owned()));
        let class = parse(json!({"kind": "class", "file": "f.json", "classes": ["a", "b"]})).expect("valid");
        assert_eq!(class.source, TargetSource::OneFile("targetsTr/f.json".to_owned()));
        let weight = parse(json!({"kind": "weight", "of": "segmentation"})).expect("valid");
        assert_eq!(weight.weighs.as_deref(), Some("segmentation"));
        let derived = parse(json!({"kind": "derived", "from": "segmentation", "op": "subset", "labels": ["a"]})).expect("valid");
        let operation = Operation::Subset(vec!["a".to_owned()]);
        assert_eq!(derived.source, TargetSource::Derived { from: "segmentation".to_owned(), operation });
        assert!(matches!(derived.kind, TargetKind::Labels(labels) if labels.channels() == 2));
    }

    #[test]
    fn broken_entries_name_the_nearest() {
        for (value, part) in [
            (json!({"kind": "label"}), "did you mean \"labels\"?"),
            (json!({"kind": "weight"}), "t.of is missing"),
            (json!({"kind": "derived", "from": "a"}), "t.op is missing"),
            (json!({"kind": "derived", "from": "a", "op": "distance"}), "did you mean \"signed_distance\"?"),
            (json!({"kind": "derived", "from": "a", "op": "boundary", "labels": ["a"]}), "\"subset\" only"),
            (json!({"kind": "derived", "from": "a", "op": "subset", "labels": []}), "t.labels is empty"),
            (json!({"kind": "derived", "from": "a", "op": "subset", "labels": ["background"]}), "foreground labels only"),
            (json!({"kind": "derived", "from": "a", "op": "subset", "labels": ["a", "a"]}), "every label once"),
            (json!({"kind": "regression", "vectors": true}), "\"channels\": 3"),
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
