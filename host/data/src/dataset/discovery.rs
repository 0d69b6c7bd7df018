//! Finds the training cases of a data set and the files of each, as nnU-Net does (`nnunetv2/utilities/utils.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value;

use super::{Case, CaseTarget, Description, Error, SEGMENTATION, TargetSource};
use crate::entry::Entry;
use crate::kinds::Form;
use crate::name::Name;

/// Digits of the channel number in `<case>_0000.nii.gz`.
const CHANNEL_DIGITS: usize = 4;

/// All training cases, sorted by id.
pub(super) fn find_cases(folder: &Path, description: &Description) -> Result<Vec<Case>, Error> {
    let json_path = folder.join("dataset.json");
    let listed = Entry::root(&json_path, &description.json);
    let files = match listed.get("dataset") {
        Some(entry) => listed_files(folder, &entry, description)?,
        None => found_files(folder, description, &mut |error| Err(error))?,
    };
    if files.len() != description.num_training {
        return Err(Error::CaseCount { path: folder.join("imagesTr"), found: files.len(), expected: description.num_training });
    }
    let values = read_value_files(folder, description)?;
    files
        .into_iter()
        .map(|(id, files)| {
            let targets = description
                .targets
                .keys()
                .map(|target| Ok((target.clone(), find_target(folder, description, &id, &files, target, &values)?)))
                .collect::<Result<_, Error>>()?;
            Ok(Case { id, images: files.images, targets })
        })
        .collect()
}

pub(super) struct CaseFiles {
    pub(super) images: Vec<PathBuf>,
    pub(super) labels: PathBuf,
    /// Whether the images are as many as those of other cases.
    pub(super) complete: bool,
}

/// Cases as the optional key `dataset` of `dataset.json` lists them, in its order.
pub(super) fn listed_files(folder: &Path, entry: &Entry, description: &Description) -> Result<IndexMap<Name, CaseFiles>, Error> {
    let mut cases = IndexMap::new();
    for (id, value) in entry.object("an object from case to its files")? {
        let case = entry.child(id, value);
        let expected = "a name that can be that of a file, and does not begin with a dot";
        let id = Name::new(id).ok().filter(|id| !id.starts_with('.')).ok_or_else(|| case.wrong(&format!("named {id:?}"), expected))?;
        let expected = "a list of image files, one for each channel (or fewer, if they hold several channels)";
        let images = case.required("images", expected)?;
        let images: Vec<PathBuf> = images
            .array(expected)?
            .iter()
            .map(|file| Ok(folder.join(expand_variables(&images.with_value(file).string(expected)?))))
            .collect::<Result<_, Error>>()?;
        let channels = description.channel_names.len();
        if images.is_empty() || images.len() > channels {
            return Err(case.wrong(&format!("{} images", images.len()), &format!("1 to {channels}, as channel_names has")));
        }
        if let Some(missing) = images.iter().find(|image| !image.is_file()) {
            return Err(case.wrong(&format!("naming {}", missing.display()), "a file that exists"));
        }
        let labels = case.required("label", "a label map file")?.string("a label map file")?;
        cases.insert(id, CaseFiles { images, labels: folder.join(expand_variables(&labels)), complete: true });
    }
    Ok(cases)
}

/// Names in a folder, sorted, without those that begin with a dot: file managers leave them behind.
pub fn visible_names(folder: &Path) -> Result<Vec<String>, Error> {
    let read = |source| Error::Read { path: folder.to_path_buf(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        names.push(entry.map_err(read)?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    Ok(names)
}

/// Cases by the file names in `imagesTr`. What is wrong goes to `wrong`, which decides whether to go on.
pub(super) fn found_files(
    folder: &Path,
    description: &Description,
    wrong: &mut dyn FnMut(Error) -> Result<(), Error>,
) -> Result<IndexMap<Name, CaseFiles>, Error> {
    let images = folder.join("imagesTr");
    let ending = &description.file_ending;
    let mut channels: BTreeMap<String, BTreeMap<usize, PathBuf>> = BTreeMap::new();
    for name in visible_names(&images)? {
        let path = images.join(&name);
        let Some(stem) = name.strip_suffix(ending.as_str()) else { continue };
        match split_channel(stem) {
            Some((id, channel)) => drop(channels.entry(id.to_owned()).or_default().insert(channel, path)),
            None => wrong(Error::Unnumbered { path, ending: ending.to_string() })?,
        }
    }
    // Files may hold several channels (colours of a PNG, the fourth dimension of a NIfTI), which only shows when they are
    // opened. That every case has as many files as the others shows here.
    let most = channels.values().map(BTreeMap::len).max().unwrap_or(0);
    let expected = most.min(description.channel_names.len());
    let list = |numbers: Vec<usize>| numbers.iter().map(|n| format!("{n:04}")).collect::<Vec<_>>().join(", ");
    let mut cases = IndexMap::new();
    for (id, files) in channels {
        let complete = files.keys().copied().eq(0..expected);
        if !complete {
            wrong(Error::Channels {
                found: list(files.keys().copied().collect()),
                expected: list((0..expected).collect()),
                remedy: match (0..expected).find(|channel| !files.contains_key(channel)) {
                    Some(missing) => format!("add {id}_{missing:04}{ending}"),
                    None => "remove the further files or name their channels".to_owned(),
                },
                case: id.clone(),
                folder: images.clone(),
            })?;
        }
        let labels = folder.join("labelsTr").join(format!("{id}{ending}"));
        cases.insert(Name::known(id), CaseFiles { images: files.into_values().collect(), labels, complete });
    }
    Ok(cases)
}

/// `hippocampus_001_0000` is case `hippocampus_001`, channel 0.
pub fn split_channel(stem: &str) -> Option<(&str, usize)> {
    let (id, channel) = stem.rsplit_once('_')?;
    let digits = channel.len() == CHANNEL_DIGITS && channel.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !id.is_empty()).then(|| channel.parse().ok().map(|channel| (id, channel)))?
}

/// `$NAME` and `${NAME}` become the value of that environment variable; unknown ones stay, as Python's `os.path.expandvars` leaves them.
fn expand_variables(text: &str) -> String {
    expand(text, |name| std::env::var(name).ok())
}

/// The same with the values that `variable` knows.
fn expand(text: &str, variable: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('$') {
        result.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let (name, length) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, _)) => (name, name.len() + 2),
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        let value = if name.is_empty() { None } else { variable(name) };
        match value {
            Some(value) => result.push_str(&value),
            None => result.push_str(&rest[start..start + 1 + length]),
        }
        rest = &after[length..];
    }
    result + rest
}

/// The content of the JSON file of every target that has one for all cases.
pub(super) fn read_value_files(folder: &Path, description: &Description) -> Result<IndexMap<String, Value>, Error> {
    let mut files = IndexMap::new();
    for (name, target) in &description.targets {
        let TargetSource::OneFile(file) = &target.source else { continue };
        let path = folder.join(file);
        let json: Value = imaging::io::read_json(&path).map_err(|error| Error::json(&path, error))?;
        Entry::root(&path, &json).object("an object from case to class")?;
        files.insert(name.clone(), json);
    }
    Ok(files)
}

pub(super) fn find_target(
    folder: &Path,
    description: &Description,
    id: &str,
    files: &CaseFiles,
    name: &str,
    values: &IndexMap<String, Value>,
) -> Result<Option<CaseTarget>, Error> {
    let target = &description.targets[name];
    let path = match (&target.source, target.kind.form()) {
        (TargetSource::Derived { .. }, _) => return Ok(None),
        (TargetSource::OneFile(file), Form::Whole(kind)) => {
            let path = folder.join(file);
            let file = Entry::root(&path, &values[name]);
            return match file.get(id).filter(|entry| !entry.value.is_null()) {
                Some(entry) => Ok(Some(kind.value(&entry)?)),
                None if target.optional => Ok(None),
                None => Err(Error::MissingClass { case: id.to_owned(), target: name.to_owned(), path, expected: kind.values() }),
            };
        }
        (_, _) if name == SEGMENTATION => files.labels.clone(),
        (TargetSource::Maps(place) | TargetSource::OneFile(place), _) => {
            folder.join(place).join(format!("{id}{}", description.file_ending))
        }
    };
    match path.is_file() {
        true => Ok(Some(CaseTarget::File(path))),
        false if target.optional => Ok(None),
        false => Err(Error::MissingTarget { case: id.to_owned(), target: name.to_owned(), path }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dataset::Dataset;

    /// A data set of empty files: discovery does not open images.
    fn write(folder: &Path, json: &Value, files: &[&str]) {
        std::fs::write(folder.join("dataset.json"), json.to_string()).expect("written");
        for file in files {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("created");
            std::fs::write(path, "{\"a\": 1, \"b\": \"x\"}").expect("written");
        }
    }

    fn json() -> Value {
        json!({
            "channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "a": 1}, "numTraining": 2,
            "file_ending": ".nii", "targets": {
                "d": {"kind": "regression", "optional": true},
                "c": {"kind": "class", "file": "c.json", "classes": ["x", "y"]}
            }
        })
    }

    const FILES: [&str; 8] = [
        "imagesTr/a_0000.nii",
        "imagesTr/a_0001.nii",
        "imagesTr/b_0000.nii",
        "imagesTr/b_0001.nii",
        "labelsTr/a.nii",
        "labelsTr/b.nii",
        "targetsTr/d/a.nii",
        "targetsTr/c.json",
    ];

    fn open(json: &Value, files: &[&str]) -> Result<Dataset, String> {
        let folder = tempfile::tempdir().expect("temporary folder");
        write(folder.path(), json, files);
        Dataset::open(folder.path().to_str().expect("UTF-8"), None).map_err(|error| error.to_string())
    }

    #[test]
    fn cases_are_matched_with_channels_and_targets() {
        let dataset = open(&json(), &FILES).expect("valid");
        assert_eq!(dataset.case_ids(), ["a", "b"]);
        let [a, b] = &dataset.cases[..] else { panic!("two cases") };
        assert!(a.images[1].ends_with("imagesTr/a_0001.nii"));
        assert!(b.segmentation().is_some_and(|path| path.ends_with("labelsTr/b.nii")));
        assert!(a.targets["d"].is_some() && b.targets["d"].is_none());
        assert_eq!(a.targets["c"], Some(CaseTarget::Class(1)));
        assert_eq!(b.targets["c"], Some(CaseTarget::Class(0)));
        assert_eq!(a.files().count(), 4);
    }

    #[test]
    fn what_is_missing_is_named() {
        let without = |index: usize| {
            let mut files = FILES.to_vec();
            files.remove(index);
            open(&json(), &files).expect_err("must be refused")
        };
        assert!(without(3).contains("add b_0001.nii"), "{}", without(3));
        assert!(without(5).contains("labelsTr/b.nii: not found"), "{}", without(5));
        assert!(!without(5).contains("optional"), "{}", without(5));
        assert!(without(7).contains("c.json: cannot be read"), "{}", without(7));
        let mut required = json();
        required["targets"]["d"]["optional"] = json!(false);
        let message = open(&required, &FILES).expect_err("b has no d");
        assert!(message.contains("targetsTr/d/b.nii: not found") && message.contains("\"optional\": true"), "{message}");
    }

    #[test]
    fn wrong_counts_classes_and_names_are_refused() {
        let mut three = json();
        three["numTraining"] = json!(3);
        assert!(open(&three, &FILES).expect_err("two cases").contains("found 2 training cases, expected 3"));
        let mut classes = json();
        classes["targets"]["c"]["classes"] = json!(["y", "z"]);
        assert!(open(&classes, &FILES).expect_err("no class x").contains("b is \"x\"; expected a class index from 0 to 1"));
        let mut files = FILES.to_vec();
        files.push("imagesTr/c.nii");
        assert!(open(&json(), &files).expect_err("no channel number").contains("without a channel number"));
        let mut files = FILES.to_vec();
        files.push("imagesTr/a_0002.nii");
        assert!(open(&json(), &files).expect_err("third channel").contains("found 0000, 0001, 0002 of the channels"));
    }

    #[test]
    fn listed_cases_are_relative_to_the_folder() {
        let mut listed = json();
        listed["targets"] = json!({});
        listed["dataset"] = json!({
            "q": {"images": ["imagesTr/a_0000.nii", "imagesTr/a_0001.nii"], "label": "labelsTr/a.nii"},
            "p": {"images": ["imagesTr/b_0000.nii", "imagesTr/b_0001.nii"], "label": "labelsTr/b.nii"}
        });
        assert_eq!(open(&listed, &FILES).expect("valid").case_ids(), ["q", "p"]);
    }

    #[test]
    fn variables_are_expanded_and_unknown_ones_stay() {
        let expanded = |text| expand(text, |name| (name == "DATA_1").then(|| "/d".to_owned()));
        assert_eq!(expanded("${DATA_1}/x_$DATA_1$"), "/d/x_/d$");
        assert_eq!(expanded("$NO_SUCH_VARIABLE_1/x"), "$NO_SUCH_VARIABLE_1/x");
        assert_eq!(expanded("$DATA_12/${DATA_1/$"), "$DATA_12/${DATA_1/$");
        // Whatever the environment is.
        let plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        for (name, value) in environment.filter(|(name, _)| plain(name)) {
            assert_eq!(expand_variables(&format!("a/${{{name}}}")), format!("a/{value}"));
        }
    }
}
