//! `dataset.json` as far as it can be used: an entry that breaks a rule becomes a finding and is set aside, and the rest is read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::finding::Findings;
use crate::dataset::description::{are_numbers, channels_key};
use crate::dataset::{Description, Error, Rules, SEGMENTATION};
use crate::name::Name;

/// A description, and what in it is made up because the file says nothing usable.
pub(super) struct Usable {
    pub description: Description,
    set_aside: BTreeSet<String>,
}

impl Usable {
    /// Whether an entry is the file's own: `channel_names`, `numTraining`, `labels`, …
    pub fn says(&self, entry: &str) -> bool {
        !self.set_aside.contains(entry)
    }

    /// Names of the channels from `first` on, if the file has them.
    pub fn channels_from(&self, first: usize) -> &[String] {
        let names = if self.says("channel_names") { &self.description.channel_names[..] } else { &[] };
        names.get(first..).unwrap_or_default()
    }

    /// Whether every target of the file could be read.
    pub fn says_all_targets(&self) -> bool {
        !self.set_aside.iter().any(|entry| entry.starts_with("targets"))
    }

    /// Whether there is a reader for the data set's files. Lists of files may name others than `file_ending` says.
    pub fn has_readable_ending(&self, folder: &Path) -> bool {
        // Endings are judged before files are opened, and no case has this name: it begins with a dot.
        let nobody = folder.join("imagesTr").join(&*self.description.file_ending);
        let unknown = matches!(imaging::io::read_image(&nobody), Err(imaging::io::Error::UnknownEnding { .. }));
        !unknown || self.description.json.get("dataset").is_some()
    }
}

/// Reads the `dataset.json` of `folder`.
pub(super) fn read(folder: &Path, findings: &mut Findings) -> Usable {
    let path = folder.join("dataset.json");
    let mut unreadable = false;
    let json = imaging::io::read_json(&path).unwrap_or_else(|error| {
        findings.refused(&path, &Error::json(&path, error));
        unreadable = true;
        Value::Null
    });
    let files = FileNames::list(folder, &json);
    let mut mended = Mended { json, set_aside: BTreeSet::new(), files: &files };
    let mut description = loop {
        match Description::parse(&path, mended.json.clone(), Rules::Training) {
            Ok(description) => break description,
            Err(error) => {
                let entry = match &error {
                    Error::Entry { entry, .. } | Error::Unknown { entry, .. } => entry.as_str(),
                    _ => "",
                };
                if !unreadable && !mended.follows(entry) {
                    findings.refused(&path, &error);
                }
                mended.set_aside(entry);
            }
        }
    };
    let key = channels_key(&description.json);
    let channels = description.json.get(key).and_then(Value::as_object);
    if let Some(channels) = channels.filter(|channels| !are_numbers(channels)) {
        let keys = channels.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let found = format!("{key} has the keys {keys}, which do not number the channels, and is taken in the order of the file");
        findings.warning(&path, found, "write 0, 1, 2, … as keys, by the numbers in the names of image files");
    }
    if let Some((found, remedy)) = description.unknown_reader() {
        findings.warning(&path, found, remedy);
    }
    if let Some((ending, count)) = files.other_ending(&description.file_ending) {
        let found =
            format!("file_ending is {:?}, and imagesTr has no such image but {count} that end with {ending:?}", description.file_ending);
        findings.error(&path, found, format!("set file_ending to {ending:?}, or convert the files"));
        description.file_ending = Name::known(ending);
    }
    Usable { description, set_aside: mended.set_aside }
}

/// A `dataset.json` in which what breaks a rule is replaced by something that does not.
struct Mended<'a> {
    json: Value,
    set_aside: BTreeSet<String>,
    files: &'a FileNames,
}

impl Mended<'_> {
    /// Takes the entry called `entry` out, such as `labels.liver` or `targets.whole.kind`.
    fn set_aside(&mut self, entry: &str) {
        let key = entry.split('.').next().unwrap_or_default();
        let target = self.target(entry);
        let Value::Object(root) = &mut self.json else { return self.set_all_aside() };
        let what = match (key, target) {
            ("labels" | "regions_class_order", _) => {
                root.insert("labels".to_owned(), json!({"background": 0}));
                root.shift_remove("regions_class_order");
                "labels".to_owned()
            }
            ("channel_names" | "modality", _) => {
                root.insert("channel_names".to_owned(), self.files.channel_names());
                "channel_names".to_owned()
            }
            ("file_ending", _) => {
                root.insert(key.to_owned(), self.files.ending().into());
                key.to_owned()
            }
            ("numTraining", _) => {
                root.insert(key.to_owned(), 0.into());
                key.to_owned()
            }
            ("targets", Some(target)) => {
                root.get_mut(key).and_then(Value::as_object_mut).map(|targets| targets.shift_remove(&target));
                format!("targets.{target}")
            }
            ("targets", None) => {
                root.shift_remove(key);
                key.to_owned()
            }
            _ => return self.set_all_aside(),
        };
        // An entry is set aside once. Should the rest still be refused for it, there is nothing to be had from this file.
        if !self.set_aside.insert(what) {
            self.set_all_aside();
        }
    }

    fn set_all_aside(&mut self) {
        let (channels, ending) = (self.files.channel_names(), self.files.ending());
        self.json = json!({"channel_names": channels, "labels": {"background": 0}, "numTraining": 0, "file_ending": ending});
        self.set_aside.extend(["channel_names", "file_ending", "numTraining", "labels", "targets"].map(str::to_owned));
    }

    /// Whether the entry is wrong only because it refers to one that was set aside.
    fn follows(&self, entry: &str) -> bool {
        let Some(target) = self.target(entry) else { return false };
        let references = ["of", "from"].map(|key| self.json["targets"][&target][key].as_str());
        references.into_iter().flatten().any(|name| match name {
            SEGMENTATION => self.set_aside.contains("labels"),
            name => self.set_aside.contains(&format!("targets.{name}")),
        })
    }

    /// `whole` of `targets.whole.kind`.
    fn target(&self, entry: &str) -> Option<String> {
        let rest = entry.strip_prefix("targets.")?;
        let names = self.json.get("targets").and_then(Value::as_object).into_iter().flat_map(Map::keys);
        let is_meant =
            |name: &&String| rest.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ' ']));
        names.filter(is_meant).max_by_key(|name| name.len()).cloned()
    }
}

/// What the names of the image files say of a data set whose `dataset.json` does not.
struct FileNames {
    /// Number of images with each ending.
    endings: BTreeMap<String, usize>,
    /// Channels of the case that has most.
    channels: usize,
}

impl FileNames {
    /// Of the files in `imagesTr`, or those that `dataset.json` lists.
    fn list(folder: &Path, json: &Value) -> Self {
        if let Some(cases) = json.get("dataset").and_then(Value::as_object) {
            let images = cases.values().filter_map(|case| case["images"].as_array());
            return Self { endings: BTreeMap::new(), channels: images.map(Vec::len).max().unwrap_or(1) };
        }
        let names = crate::dataset::discovery::visible_names(&folder.join("imagesTr")).unwrap_or_default();
        let mut endings = BTreeMap::new();
        let mut channels = BTreeSet::new();
        for name in &names {
            if let Some((channel, ending)) = channel_and_ending(name) {
                channels.insert(channel.to_owned());
                *endings.entry(ending.to_owned()).or_default() += 1;
            }
        }
        Self { endings, channels: channels.len().max(1) }
    }

    fn channel_names(&self) -> Value {
        (0..self.channels.max(1)).map(|channel| (channel.to_string(), "unknown".into())).collect::<Map<_, _>>().into()
    }

    fn ending(&self) -> &str {
        self.endings.iter().max_by_key(|(_, count)| **count).map_or(".nii.gz", |(ending, _)| ending)
    }

    /// The ending that the images have where none has `ending`, and how many have it.
    fn other_ending(&self, ending: &str) -> Option<(&str, usize)> {
        let most = self.endings.iter().filter(|_| !self.endings.contains_key(ending)).max_by_key(|(_, count)| **count);
        most.map(|(ending, count)| (ending.as_str(), *count))
    }
}

/// `0000` and `.nii.gz` of `a_0000.nii.gz`.
fn channel_and_ending(name: &str) -> Option<(&str, &str)> {
    let mut at = name.match_indices('_').map(|(at, _)| at).filter(|at| {
        let rest = &name.as_bytes()[at + 1..];
        rest.len() > 5 && rest[..4].iter().all(u8::is_ascii_digit) && rest[4] == b'.'
    });
    at.next_back().map(|at| (&name[at + 1..at + 5], &name[at + 5..]))
}
