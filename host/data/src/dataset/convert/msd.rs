//! The Medical Segmentation Decathlon's format (`nnunetv2/dataset_conversion/convert_MSD_dataset.py`).
//!
//! A task is a folder `Task<number>_<name>` whose `dataset.json` lists its files: training images with their label maps, and test
//! images. Several channels are the fourth dimension of one image and become one file each; everything else is copied as it is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use imaging::{Volume, io};
use serde_json::{Map, Value};

use super::{Converted, Error, write_dataset};
use crate::dataset::{Description, Error as DatasetError, Rules, resolve};
use crate::entry::Entry;
use crate::name::Name;
use crate::parallel::{Progress, Stage, for_each_case, guarded};
use crate::scratch::Folders;
use imaging::io::write_json;

/// The only ending that the Decathlon has.
const ENDING: &str = ".nii.gz";

/// Converts the task in `folder` to a data set below `raw_root`, on `threads` threads, each of which holds one image. The data set has
/// the task's number unless `id` gives another one.
///
/// All images are decoded, so that a damaged one is found now. Channels of 4D images are written as 32-bit floats.
///
/// # Errors
/// When the folder is not a task, lacks a listed file or has a damaged one, when an image does not have the channels that
/// `dataset.json` names, when the id is taken, or when something cannot be written.
pub fn from_msd(
    folder: &Path,
    raw_root: &Path,
    id: Option<u16>,
    threads: usize,
    folders: &Folders,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Converted, Error> {
    let task = Task::read(folder)?;
    let channels = task.description.channel_names.len();
    let (id, name) = (id.unwrap_or(task.number), &task.name);
    let target = write_dataset(raw_root, id, name, folders, |target| {
        for folder in ["imagesTr", "imagesTs", "labelsTr"].map(|name| target.join(name)) {
            fs::create_dir(&folder).map_err(|source| Error::Write { path: folder, source })?;
        }
        for_each_case(&task.cases, threads, Stage::Convert, progress, |case| guarded(&case.id, || case.convert(target, channels)))?;
        write_json(&target.join("dataset.json"), &task.description.json)?;
        Ok(())
    })?;
    let test_cases = task.cases.iter().filter(|case| case.labels.is_none()).count();
    Ok(Converted { folder: target, cases: task.cases.len() - test_cases, test_cases, left_out: task.unlisted(folder)? })
}

/// A task as its `dataset.json` describes it.
struct Task {
    number: u16,
    name: String,
    /// As nnU-Net's format has it.
    description: Description,
    cases: Vec<TaskCase>,
}

/// One listed image.
struct TaskCase {
    id: Name,
    image: PathBuf,
    /// Test images have none.
    labels: Option<PathBuf>,
}

impl Task {
    fn read(folder: &Path) -> Result<Self, Error> {
        let full_name = resolve::name(folder)?;
        let (number, name) = parse_name(&full_name).ok_or_else(|| Error::FolderName { path: folder.to_path_buf() })?;
        let path = folder.join("dataset.json");
        let json: Value = io::read_json(&path).map_err(|error| DatasetError::json(&path, error))?;
        let root = Entry::root(&path, &json);
        if root.get("channel_names").is_some() && root.get("training").is_none() {
            return Err(Error::NothingToDo { path });
        }
        let mut cases = training_cases(&root, folder)?;
        let description = describe(&path, &root, cases.len())?;
        cases.extend(test_cases(&root, folder)?);
        let files = cases.iter().flat_map(|case| std::iter::once(&case.image).chain(&case.labels));
        if let Some(missing) = files.into_iter().find(|file| !file.is_file()) {
            return Err(Error::Missing { path: missing.clone(), list: path });
        }
        Ok(Self { number, name: name.to_owned(), description, cases })
    }

    /// Files in the task's folders that its `dataset.json` does not list, sorted.
    fn unlisted(&self, folder: &Path) -> Result<Vec<PathBuf>, Error> {
        let listed: BTreeSet<&PathBuf> = self.cases.iter().flat_map(|case| std::iter::once(&case.image).chain(&case.labels)).collect();
        let mut unlisted = Vec::new();
        for folder in ["imagesTr", "imagesTs", "labelsTr"].map(|name| folder.join(name)).into_iter().filter(|folder| folder.is_dir()) {
            let read = |source| DatasetError::Read { path: folder.clone(), source };
            for entry in fs::read_dir(&folder).map_err(read)? {
                let path = entry.map_err(read)?.path();
                if !listed.contains(&path) {
                    unlisted.push(path);
                }
            }
        }
        unlisted.sort();
        Ok(unlisted)
    }
}

impl TaskCase {
    /// Writes the case into the data set in `target`.
    fn convert(&self, target: &Path, channels: usize) -> Result<(), Error> {
        let images = target.join(if self.labels.is_some() { "imagesTr" } else { "imagesTs" });
        let channel_file = |channel: usize| images.join(format!("{}_{channel:04}{ENDING}", self.id));
        let image = io::read_image(&self.image)?;
        let found = image.volume.channels();
        if found != channels {
            return Err(DatasetError::ChannelCount { path: self.image.clone(), found, expected: channels }.into());
        }
        if channels == 1 {
            copy(&self.image, &channel_file(0))?;
        } else {
            let [_, z, y, x] = image.volume.shape();
            for channel in 0..channels {
                let volume = Volume::new([1, z, y, x], image.volume.channel(channel).to_vec());
                io::write_image(&channel_file(channel), &volume, &image.geometry)?;
            }
        }
        match &self.labels {
            Some(labels) => copy(labels, &target.join("labelsTr").join(format!("{}{ENDING}", self.id))),
            None => Ok(()),
        }
    }
}

/// `Task04_Hippocampus` is task 4, Hippocampus.
fn parse_name(name: &str) -> Option<(u16, &str)> {
    let (number, name) = name.strip_prefix("Task")?.split_once('_')?;
    Some((number.parse().ok()?, name)).filter(|(_, name)| !name.is_empty())
}

/// `training`: objects of an image and its label map.
fn training_cases(root: &Entry, folder: &Path) -> Result<Vec<TaskCase>, Error> {
    let expected = "a list such as [{\"image\": \"./imagesTr/a.nii.gz\", \"label\": \"./labelsTr/a.nii.gz\"}], as the Decathlon has it";
    let list = root.required("training", expected)?;
    let files = |value| -> Result<_, Error> {
        let pair = list.with_value(value);
        let image = pair.required("image", expected)?;
        let labels = pair.required("label", expected)?.string(expected)?;
        Ok((image.string(expected)?, Some(file_below(folder, &list, &labels)?)))
    };
    cases(&list, folder, list.array(expected)?.iter().map(files))
}

/// `test`: names of images.
fn test_cases(root: &Entry, folder: &Path) -> Result<Vec<TaskCase>, Error> {
    let expected = "a list such as [\"./imagesTs/a.nii.gz\"], as the Decathlon has it";
    let Some(list) = root.get("test") else { return Ok(Vec::new()) };
    cases(&list, folder, list.array(expected)?.iter().map(|value| Ok((list.with_value(value).string(expected)?, None))))
}

fn cases(
    list: &Entry,
    folder: &Path,
    files: impl Iterator<Item = Result<(String, Option<PathBuf>), Error>>,
) -> Result<Vec<TaskCase>, Error> {
    let mut ids = BTreeSet::new();
    files
        .map(|file| {
            let (image, labels) = file?;
            let name = Path::new(&image).file_name().unwrap_or_default().to_string_lossy().into_owned();
            let id = name.strip_suffix(ENDING).and_then(|id| Name::new(id).ok()).filter(|id| !id.starts_with('.'));
            let id = id.ok_or_else(|| list.wrong(&format!("naming {image:?}"), "names of .nii.gz files that do not begin with a dot"))?;
            if !ids.insert(id.clone()) {
                return Err(list.wrong(&format!("naming {image:?} twice"), "every image once").into());
            }
            Ok(TaskCase { id, image: file_below(folder, list, &image)?, labels })
        })
        .collect()
}

/// A file that the task lists, which must lie below the task's folder once links are resolved: whatever it is, it is copied.
fn file_below(folder: &Path, list: &Entry, listed: &str) -> Result<PathBuf, Error> {
    // The Decathlon's paths begin with `./`.
    let path = folder.join(listed.strip_prefix("./").unwrap_or(listed));
    // What is not there is told as such later.
    let is_outside = path.canonicalize().is_ok_and(|file| folder.canonicalize().is_ok_and(|folder| !file.starts_with(folder)));
    if is_outside {
        return Err(list.wrong(&format!("naming {listed:?}, which lies outside the task's folder"), "files below that folder").into());
    }
    Ok(path)
}

/// nnU-Net's `dataset.json`: its keys in place of the Decathlon's, the others kept.
fn describe(path: &Path, root: &Entry, num_training: usize) -> Result<Description, Error> {
    let mut json = root.object("an object, as the Decathlon's dataset.json is")?.clone();
    let expected = "an object from label value to name, such as {\"0\": \"background\", \"1\": \"liver\"}";
    let labels = root.required("labels", expected)?;
    let mut values = Map::new();
    for (value, name) in labels.object(expected)? {
        let number: i16 = value.parse().map_err(|_| labels.wrong(&format!("naming {value:?}"), expected))?;
        let name = labels.child(value, name).string(expected)?;
        if values.insert(name.clone(), number.into()).is_some() {
            return Err(labels.wrong(&format!("naming {name:?} twice"), "another name for every value").into());
        }
    }
    root.required("modality", "an object from channel number to name, such as {\"0\": \"MRI\"}")?;
    json.insert("labels".to_owned(), values.into());
    json.insert("numTraining".to_owned(), num_training.into());
    json.insert("file_ending".to_owned(), ENDING.into());
    // Read under the name that the Decathlon has for it, which messages then name; nnU-Net knows both.
    json.shift_remove("channel_names");
    let description = Description::parse(path, Value::Object(json.clone()), Rules::Training)?;
    let modality = json.shift_remove("modality").unwrap_or_default();
    json.insert("channel_names".to_owned(), modality);
    json.shift_remove("training");
    json.shift_remove("test");
    Ok(Description { json: json.into(), ..description })
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |source| Error::Copy { from: from.to_path_buf(), to: to.to_path_buf(), source };
    // To copy a pipe would wait for its writer.
    let copied = io::open_file(from).and_then(|mut from| std::io::copy(&mut from, &mut fs::File::create_new(to)?));
    copied.map(drop).map_err(failed)
}

#[cfg(test)]
mod tests {
    use imaging::io::Geometry;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::dataset::Dataset;

    /// A small task in `<temporary folder>/Task05_Prostate`: two channels, two training cases, one test case.
    fn task() -> (TempDir, PathBuf) {
        let temporary = tempfile::tempdir().expect("temporary folder");
        let folder = temporary.path().join("Task05_Prostate");
        for (number, name) in ["imagesTr/p_00", "imagesTr/p_01", "imagesTs/p_02"].into_iter().enumerate() {
            image(&folder, name, 2, number);
        }
        for name in ["labelsTr/p_00", "labelsTr/p_01"] {
            let labels = Volume::new([1, 2, 3, 4], (0..24).map(|voxel| voxel % 3).collect());
            let geometry = Geometry::with_spacing([3.0, 0.5, 0.75]);
            io::write_labels(&folder.join(format!("{name}.nii.gz")), &labels, &geometry).expect("written");
        }
        let pair = |name: &str| json!({"image": format!("./imagesTr/{name}.nii.gz"), "label": format!("./labelsTr/{name}.nii.gz")});
        let json = json!({
            "name": "PROSTATE", "licence": "CC-BY-SA 4.0", "modality": {"0": "T2", "1": "ADC"},
            "labels": {"0": "background", "1": "PZ", "2": "TZ"}, "numTraining": 32, "numTest": 1,
            "training": [pair("p_01"), pair("p_00")], "test": ["./imagesTs/p_02.nii.gz"]
        });
        write_description(&folder, &json);
        (temporary, folder)
    }

    fn image(folder: &Path, name: &str, channels: usize, number: usize) {
        let volume = Volume::new([channels, 2, 3, 4], (0..channels * 24).map(|voxel| (voxel + number) as f32).collect());
        io::write_image(&folder.join(format!("{name}.nii.gz")), &volume, &Geometry::with_spacing([3.0, 0.5, 0.75])).expect("written");
    }

    fn write_description(folder: &Path, json: &Value) {
        fs::write(folder.join("dataset.json"), json.to_string()).expect("written");
    }

    fn change(folder: &Path, change: impl FnOnce(&mut Value)) {
        let mut json = serde_json::from_slice(&fs::read(folder.join("dataset.json")).expect("there")).expect("JSON");
        change(&mut json);
        write_description(folder, &json);
    }

    fn convert(folder: &Path, id: Option<u16>) -> Result<Converted, Error> {
        from_msd(folder, &folder.parent().expect("a parent").join("raw"), id, 2, &Folders::new(|_| Ok(())), &|_| {})
    }

    #[test]
    fn a_task_becomes_a_data_set_that_can_be_opened() {
        let (_temporary, folder) = task();
        fs::write(folder.join("imagesTr/._p_00.nii.gz"), "left by a file manager").expect("written");
        let converted = convert(&folder, None).expect("converted");
        assert!(converted.folder.ends_with("raw/Dataset005_Prostate"));
        assert_eq!((converted.cases, converted.test_cases), (2, 1));
        assert_eq!(converted.left_out, [folder.join("imagesTr/._p_00.nii.gz")]);

        let dataset = Dataset::open(converted.folder.to_str().expect("UTF-8"), None).expect("a data set");
        assert_eq!(dataset.case_ids(), ["p_00", "p_01"]);
        // In the order in which nnU-Net's converter leaves the keys.
        let expected =
            r#"{"name":"PROSTATE","licence":"CC-BY-SA 4.0","labels":{"background":0,"PZ":1,"TZ":2},"numTraining":2,"numTest":1,"#;
        let expected = expected.to_owned() + r#""file_ending":".nii.gz","channel_names":{"0":"T2","1":"ADC"}}"#;
        assert_eq!(dataset.description.json.to_string(), expected);

        let source = io::read_image(&folder.join("imagesTr/p_01.nii.gz")).expect("there");
        for (channel, path) in dataset.cases[1].images.iter().enumerate() {
            let image = io::read_image(path).expect("written");
            assert_eq!(image.volume.shape(), [1, 2, 3, 4]);
            assert_eq!(image.volume.data(), source.volume.channel(channel));
            assert_eq!(image.geometry.differs_from(&source.geometry), None);
        }
        let labels = |folder: &Path| fs::read(folder.join("labelsTr/p_01.nii.gz")).expect("there");
        assert_eq!(labels(&folder), labels(&converted.folder));
        assert!(converted.folder.join("imagesTs/p_02_0001.nii.gz").is_file());
        assert_eq!(fs::read_dir(folder.with_file_name("raw")).expect("there").count(), 1);
    }

    #[test]
    fn files_of_one_channel_are_copied() {
        let (_temporary, folder) = task();
        change(&folder, |json| json["modality"] = json!({"0": "CT"}));
        ["imagesTr/p_00", "imagesTr/p_01", "imagesTs/p_02"].iter().for_each(|name| image(&folder, name, 1, 0));
        let converted = convert(&folder, Some(77)).expect("converted");
        assert!(converted.folder.ends_with("Dataset077_Prostate"));
        let copied = fs::read(converted.folder.join("imagesTr/p_00_0000.nii.gz")).expect("there");
        assert_eq!(copied, fs::read(folder.join("imagesTr/p_00.nii.gz")).expect("there"));
    }

    #[test]
    fn nothing_that_exists_is_replaced() {
        let (_temporary, folder) = task();
        let existing = folder.with_file_name("raw").join("Dataset005_Another");
        fs::create_dir_all(&existing).expect("created");
        let message = convert(&folder, None).expect_err("the id is taken").to_string();
        assert!(message.contains("Dataset005_Another: is there already and has the id 5"), "{message}");
        convert(&folder, Some(6)).expect("another id");
        assert!(matches!(convert(&folder, Some(6)), Err(Error::Taken { id: 6, .. })));
    }

    #[test]
    fn broken_tasks_are_refused_and_leave_nothing_behind() {
        let refuse = |spoil: &dyn Fn(&Path), part: &str| {
            let (_temporary, folder) = task();
            spoil(&folder);
            let message = convert(&folder, None).expect_err("must be refused").to_string();
            assert!(message.contains(part) && !message.contains('\n'), "{message}");
            assert_eq!(fs::read_dir(folder.with_file_name("raw")).map_or(0, Iterator::count), 0, "{message}");
        };
        let key = |key: &'static str, value: Value| move |folder: &Path| change(folder, |json| json[key] = value.clone());
        refuse(&|folder| fs::remove_file(folder.join("dataset.json")).expect("removed"), "dataset.json: cannot be read");
        refuse(&|folder| fs::write(folder.join("dataset.json"), "{").expect("written"), "line 1, column 1: EOF");
        refuse(&|folder| fs::remove_file(folder.join("labelsTr/p_00.nii.gz")).expect("removed"), "labelsTr/p_00.nii.gz: not found");
        refuse(&|folder| fs::remove_dir_all(folder.join("imagesTs")).expect("removed"), "imagesTs/p_02.nii.gz: not found");
        refuse(&|folder| fs::write(folder.join("imagesTr/p_01.nii.gz"), "x").expect("written"), "p_01.nii.gz ends before its");
        refuse(&|folder| image(folder, "imagesTr/p_01", 3, 0), "p_01.nii.gz: found 3 channels, expected 2");
        refuse(&key("training", json!("all")), "training is \"all\"; expected a list such as");
        refuse(&key("training", json!([{"image": "./imagesTr/p_00.nii.gz"}])), "training.label is missing");
        refuse(&key("test", json!(["./imagesTs/p_02.nii"])), "names of .nii.gz files");
        refuse(&key("test", json!(["./imagesTs/p_02.nii.gz", "imagesTs/p_02.nii.gz"])), "p_02.nii.gz\" twice");
        for outside in ["/etc/hostname", "../../../../../../../../etc/hostname", "imagesTr/../../secret.nii.gz"] {
            let pair = json!([{"image": "./imagesTr/p_00.nii.gz", "label": outside}]);
            let spoil = |folder: &Path| {
                fs::write(folder.with_file_name("secret.nii.gz"), "secret").expect("written");
                change(folder, |json| json["training"] = pair.clone());
            };
            refuse(&spoil, "outside the task's folder");
        }
        let link = |folder: &Path| {
            fs::remove_file(folder.join("labelsTr/p_00.nii.gz")).expect("removed");
            std::os::unix::fs::symlink("/etc/hostname", folder.join("labelsTr/p_00.nii.gz")).expect("linked");
        };
        refuse(&link, "outside the task's folder");
        refuse(&key("labels", json!({"0": "background", "a": "b"})), "labels is naming \"a\"");
        refuse(&key("labels", json!({"0": "background", "1": "b", "2": "b"})), "labels is naming \"b\" twice");
        refuse(&key("labels", json!({"0": "background", "2": "b"})), "consecutive label values");
        refuse(&key("modality", json!(["T2"])), "modality is [\"T2\"]");
        let already = |folder: &Path| write_description(folder, &json!({"channel_names": {"0": "CT"}, "labels": {"background": 0}}));
        refuse(&already, "in nnU-Net's format already");
        let (_temporary, folder) = task();
        let other = folder.with_file_name("Prostate");
        fs::rename(&folder, &other).expect("renamed");
        assert!(convert(&other, None).expect_err("no number").to_string().contains("expected Task<number>_<name>"));
    }
}
