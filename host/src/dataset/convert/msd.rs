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
use crate::dataset::description::Entry;
use crate::dataset::{Description, Error as DatasetError, Progress, Stage, for_each_case, resolve, write_json};

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
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Converted, Error> {
    let task = Task::read(folder)?;
    let channels = task.description.channel_names.len();
    let (id, name) = (id.unwrap_or(task.number), &task.name);
    let target = write_dataset(raw_root, id, name, |target| {
        for folder in ["imagesTr", "imagesTs", "labelsTr"].map(|name| target.join(name)) {
            fs::create_dir(&folder).map_err(|source| Error::Write { path: folder, source })?;
        }
        for_each_case(&task.cases, threads, Stage::Convert, progress, |case| case.convert(target, channels))?;
        io::write_atomically(&target.join("dataset.json"), |out| write_json(out, &task.description.json))?;
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
    id: String,
    image: PathBuf,
    /// Test images have none.
    labels: Option<PathBuf>,
}

impl Task {
    fn read(folder: &Path) -> Result<Self, Error> {
        let full_name = resolve::name(folder)?;
        let (number, name) = parse_name(&full_name).ok_or_else(|| Error::FolderName { path: folder.to_path_buf() })?;
        let path = folder.join("dataset.json");
        let text = fs::read(&path).map_err(|source| DatasetError::Read { path: path.clone(), source })?;
        let json: Value = serde_json::from_slice(&text).map_err(|source| DatasetError::Json { path: path.clone(), source })?;
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
        Ok((image.string(expected)?, Some(folder.join(tidy(&labels)))))
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
            let id = name.strip_suffix(ENDING).filter(|id| !id.is_empty() && !id.starts_with('.')).map(str::to_owned);
            let id = id.ok_or_else(|| list.wrong(&format!("naming {image:?}"), "names of .nii.gz files that do not begin with a dot"))?;
            if !ids.insert(id.clone()) {
                return Err(list.wrong(&format!("naming {image:?} twice"), "every image once").into());
            }
            Ok(TaskCase { id, image: folder.join(tidy(&image)), labels })
        })
        .collect()
}

/// Without the `./` that the Decathlon's paths begin with.
fn tidy(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path)
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
    let modality = json.shift_remove("modality").unwrap_or_default();
    json.insert("channel_names".to_owned(), modality);
    json.shift_remove("training");
    json.shift_remove("test");
    Ok(Description::parse(path, json.into())?)
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |source| Error::Copy { from: from.to_path_buf(), to: to.to_path_buf(), source };
    fs::copy(from, to).map(drop).map_err(failed)
}
