//! `dataset.json`: nnU-Net's keys and the named targets.

use std::collections::BTreeSet;
use std::path::Path;

use imaging::io::{Reader, read_json};
use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::target::{check_references, inherit_optional};
use super::{Error, Labels, SEGMENTATION, Target};
use crate::entry::{Entry, Rules};
use crate::name::Name;
use crate::nearest::hint;

/// Targets of a data set.
const MOST_TARGETS: usize = 1000;

/// What `dataset.json` says.
#[derive(Clone, Debug)]
pub struct Description {
    /// Names of the image channels, by channel number; they decide the normalisation.
    pub channel_names: Vec<String>,
    /// Ending of all images and maps, such as `.nii.gz`.
    pub file_ending: Name,
    /// Number of training cases.
    pub num_training: usize,
    /// Targets by name, in the order of the file; the first is always `segmentation`, the label map of `labelsTr`.
    pub targets: IndexMap<String, Target>,
    /// The whole file, unknown keys and order kept.
    pub json: Value,
}

impl Description {
    /// Reads the `dataset.json` of data that is to be trained on.
    ///
    /// # Errors
    /// When the file cannot be read or an entry breaks a rule of nnU-Net's format or of the key `targets`.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(path, read_json(path).map_err(|error| Error::json(path, error))?, Rules::Training)
    }

    /// Reads the `dataset.json` of a trained model or of predictions, which is held to what prediction and evaluation need, and to nothing
    /// more: whatever nnU-Net has trained with it is done.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_trained(path: &Path) -> Result<Self, Error> {
        Self::parse(path, read_json(path).map_err(|error| Error::json(path, error))?, Rules::Trained)
    }

    /// The labels of `segmentation`.
    pub fn segmentation(&self) -> &Labels {
        self.targets.get(SEGMENTATION).and_then(|target| target.kind.labels()).expect("parse puts the label map first")
    }

    /// The reader that the file asks for (`overwrite_image_reader_writer`), if it is one of nnU-Net's.
    pub fn asked_reader(&self) -> Option<Reader> {
        Reader::from_name(self.named_reader()?)
    }

    /// What is wrong with the name of a reader that the file asks for, and what to write. As in nnU-Net, that is no error: the first image decides.
    pub fn unknown_reader(&self) -> Option<(String, String)> {
        let name = self.named_reader().filter(|name| Reader::from_name(name).is_none())?;
        let found = format!("overwrite_image_reader_writer is {name:?}, which is unknown, so the first image decides");
        Some((found, hint(name, Reader::ALL.map(Reader::name))))
    }

    fn named_reader(&self) -> Option<&str> {
        self.json.get("overwrite_image_reader_writer").and_then(Value::as_str).filter(|name| *name != "None")
    }

    /// The part of the file that goes with models and predictions: what prediction, evaluation, and nnU-Net's ensembling and postprocessing
    /// read. No case, no path, no free text.
    pub fn shareable(&self) -> Value {
        const READ: [&str; 8] = [
            "channel_names",
            "modality",
            "labels",
            "regions_class_order",
            "numTraining",
            "file_ending",
            "overwrite_image_reader_writer",
            "targets",
        ];
        let mut json = self.json.clone();
        if let Some(root) = json.as_object_mut() {
            root.retain(|key, _| READ.contains(&key.as_str()));
            if root.contains_key("channel_names") {
                root.shift_remove("modality");
            }
            root.retain(|key, value| key != "overwrite_image_reader_writer" || value.is_string());
            let targets = root.get_mut("targets").and_then(Value::as_object_mut);
            for target in targets.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
                // Where the files of the data set are.
                target.retain(|key, _| key != "folder" && key != "file");
            }
        }
        json
    }

    /// Checks the content of a `dataset.json`; `path` is for messages.
    ///
    /// # Errors
    /// When an entry breaks a rule.
    pub fn parse(path: &Path, json: Value, rules: Rules) -> Result<Self, Error> {
        let root = Entry::root(path, &json).held_to(rules);
        root.object("an object, as nnU-Net's dataset.json is")?;
        let channel_names = channel_names(&root)?;
        let expected = "the ending of the image files, such as \".nii.gz\"";
        let file_ending = root.required("file_ending", expected)?;
        let file_ending = match file_ending.string(expected)? {
            ending if ending.len() > 1 && ending.starts_with('.') => {
                Name::new(ending).map_err(|e| file_ending.wrong(&e.to_string(), expected))?
            }
            other => return Err(file_ending.wrong(&format!("{other:?}"), expected)),
        };
        let num_training = match num_training(&root) {
            // Nothing that is done with a model needs it.
            Err(_) if rules == Rules::Trained => 0,
            number => number?,
        };
        let mut targets = IndexMap::new();
        targets.insert(SEGMENTATION.to_owned(), Target::segmentation(Labels::parse(&root)?));
        if let Some(entry) = root.get("targets") {
            let named = entry.object("an object of named targets")?;
            if named.len() > MOST_TARGETS {
                return Err(entry.wrong(&format!("an object of {} targets", named.len()), "at most 1000"));
            }
            for (name, value) in named {
                targets.insert(name.clone(), Target::parse(name, &entry.child(name, value))?);
            }
            check_references(&targets, &entry)?;
            inherit_optional(&mut targets);
        }
        Ok(Self { channel_names, file_ending, num_training, targets, json })
    }
}

fn num_training(root: &Entry) -> Result<usize, Error> {
    let expected = "the number of training cases";
    let entry = root.required("numTraining", expected)?;
    // Python takes 5.0 for 5.
    let number = entry.value.as_f64().filter(|number| *number >= 0.0 && number.fract() == 0.0 && *number <= u32::MAX.into());
    number.map(|number| number as usize).ok_or_else(|| entry.wrong(&entry.value.to_string(), expected))
}

/// `channel_names`, or `modality` as older data sets have it: channel number to name. nnU-Net goes by the order of the entries, whatever
/// their keys are; here, keys that number the channels (`0`, or `0000` as in the names of files) go before, since a file may be sorted as text.
fn channel_names(root: &Entry) -> Result<Vec<String>, Error> {
    let expected = "an object from channel number to name, such as {\"0\": \"MRI\"}";
    let key = channels_key(root.value);
    let entry = root.required(key, expected)?;
    let channels = entry.object(expected)?;
    if channels.is_empty() {
        return Err(entry.wrong("empty", expected));
    }
    let mut names: Vec<(&String, &Value)> = channels.iter().collect();
    if are_numbers(channels) {
        names.sort_by_key(|(key, _)| channel_number(key));
    }
    names.into_iter().map(|(key, name)| entry.child(key, name).string("the name of a channel")).collect()
}

/// The key under which a `dataset.json` names its channels: `modality` in older ones.
pub(super) fn channels_key(json: &Value) -> &'static str {
    if json.get("channel_names").is_none() && json.get("modality").is_some() { "modality" } else { "channel_names" }
}

/// Whether keys number the channels.
pub(super) fn are_numbers(channels: &Map<String, Value>) -> bool {
    let numbers: BTreeSet<usize> = channels.keys().filter_map(|key| channel_number(key)).collect();
    numbers.into_iter().eq(0..channels.len())
}

fn channel_number(key: &str) -> Option<usize> {
    key.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(json: Value) -> Result<Description, String> {
        Description::parse(Path::new("d/dataset.json"), json, Rules::Training).map_err(|error| error.to_string())
    }

    fn minimal() -> Value {
        json!({"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "numTraining": 2, "file_ending": ".nii.gz"})
    }

    #[test]
    fn targets_follow_the_segmentation_in_order() {
        let mut json = minimal();
        json["targets"] = json!({
            "z": {"kind": "regression"}, "b": {"kind": "class", "classes": ["x", "y"]}
        });
        json["somebody_elses_key"] = json!(1);
        let description = parse(json.clone()).expect("valid");
        assert_eq!(description.targets.keys().collect::<Vec<_>>(), ["segmentation", "z", "b"]);
        assert_eq!(description.segmentation().channels(), 2);
        assert_eq!(description.json, json);
    }

    #[test]
    fn legacy_modality_and_channel_order() {
        let mut json = minimal();
        let object = json.as_object_mut().expect("object");
        object.remove("channel_names");
        object.insert("modality".to_owned(), json!({"1": "T2", "0": "T1"}));
        assert_eq!(parse(json).expect("valid").channel_names, ["T1", "T2"]);
    }

    #[test]
    fn channels_are_numbered_or_listed() {
        for (names, expected) in [
            (json!({"0001": "b", "0000": "a"}), ["a", "b"]),
            (json!({"1": "a", "2": "b"}), ["a", "b"]),
            (json!({"T2": "a", "ADC": "b"}), ["a", "b"]),
            (json!({"1": "b", " 0": "a"}), ["a", "b"]),
        ] {
            let mut json = minimal();
            json["channel_names"] = names;
            json["numTraining"] = json!(2.0);
            let description = parse(json).expect("valid");
            assert_eq!((description.channel_names, description.num_training), (expected.map(str::to_owned).to_vec(), 2));
        }
    }

    #[test]
    fn a_trained_model_is_held_to_less() {
        let mut json = minimal();
        json["labels"] = json!({"background": 0, "a": 1, "c": 3});
        json.as_object_mut().expect("object").remove("numTraining");
        assert!(parse(json.clone()).is_err());
        let description = Description::parse(Path::new("dataset.json"), json, Rules::Trained).expect("a model");
        assert_eq!(description.segmentation().values(), [0, 1, 3]);
    }

    #[test]
    fn errors_name_file_entry_and_expectation() {
        for (key, value, part) in [
            ("channel_names", json!(["CT"]), "channel_names is [\"CT\"]; expected an object"),
            ("channel_names", json!({"0": 1}), "channel_names.0 is 1; expected the name"),
            ("file_ending", json!("nii.gz"), "file_ending is \"nii.gz\""),
            ("numTraining", json!("2"), "the number of training cases"),
            ("numTraining", json!(2.5), "the number of training cases"),
            ("targets", json!({"segmentation": {"kind": "regression"}}), "targets.segmentation"),
            ("targets", json!({"a/b": {"kind": "regression"}}), "letters, digits"),
            ("targets", json!({"w": {"kind": "weight", "of": "segmentatoin"}}), "did you mean \"segmentation\"?"),
            ("targets", json!({"w": {"kind": "weight", "of": "w"}}), "targets.w.of \"w\" is unknown"),
            ("targets", json!({"d": {"kind": "derived", "op": "boundary", "from": "d"}}), "targets.d.from"),
            ("targets", json!({"d": {"kind": "derived", "op": "subset", "from": "segmentation", "labels": ["b"]}}), "label \"b\""),
        ] {
            let mut json = minimal();
            json[key] = value;
            let message = parse(json).expect_err("must be refused");
            assert!(message.starts_with("d/dataset.json: ") && message.contains(part), "{message}");
        }
    }
}
