//! The raw data set: what `dataset.json` says and which files every case has.
//!
//! A specification (path, name or id) is resolved to a folder ([`Dataset::open`]), its `dataset.json` parsed into a
//! [`Description`] (channels, labels, named targets), and every training case matched with its image and target files
//! ([`Case`]). Whatever can be found wrong without opening an image is reported then; the rest when a case is read
//! (by [`read_images`], and as the [kind](crate::kinds) of a target has it), before anything is computed from it. [`splits`] divides the cases into training and
//! validation, exactly as nnU-Net does.

pub mod check;
pub mod convert;
mod derive;
mod description;
mod discovery;
mod resolve;
pub mod splits;
mod target;

use std::path::{Path, PathBuf};

use imaging::io::Reader;
use indexmap::IndexMap;

use crate::name::Name;

pub use crate::entry::Rules;
pub use crate::fault::Error;
pub use crate::kinds::{CaseTarget, Labels, TargetKind};
pub use crate::name::SEGMENTATION;
pub use crate::read::read_images;
pub use derive::{DeriveMemory, Derived, Origin, clear_unknown, derive};
pub use description::Description;
pub use discovery::{split_channel, visible_names};
pub use target::{Operation, Target, TargetSource, is_target_name};

/// A raw data set in nnU-Net's format.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The folder that holds `dataset.json`, `imagesTr`, `labelsTr` and `targetsTr`.
    pub folder: PathBuf,
    /// Name of that folder, such as `Dataset004_Hippocampus`.
    pub name: Name,
    /// What `dataset.json` says.
    pub description: Description,
    /// Training cases, sorted by id or in the order in which `dataset.json` lists them.
    pub cases: Vec<Case>,
}

/// One training case: where its images and targets are.
#[derive(Clone, Debug)]
pub struct Case {
    /// File name without channel number and ending.
    pub id: Name,
    /// Image files whose channels, one after another, are those of [`Description::channel_names`]; mostly one file a channel.
    pub images: Vec<PathBuf>,
    /// Every target of the description, in its order; `None` for derived ones and where an optional one is absent.
    pub targets: IndexMap<String, Option<CaseTarget>>,
}

impl Dataset {
    /// Opens the data set that `spec` means: a folder, a name (`Dataset004_Hippocampus`) or an id (`4`), the latter two
    /// below `raw_root` (nnU-Net's `nnUNet_raw`).
    ///
    /// # Errors
    /// When nothing or more than one folder is meant, when `dataset.json` cannot be read or breaks its rules, when a case
    /// lacks a channel or a target that is not optional.
    pub fn open(spec: &str, raw_root: Option<&Path>) -> Result<Self, Error> {
        let folder = resolve::folder(spec, raw_root)?;
        let name = resolve::name(&folder)?;
        let description = Description::read(&folder.join("dataset.json"))?;
        if let Some((found, remedy)) = description.unknown_reader() {
            log::warn!("{}: {found}; {remedy}", folder.join("dataset.json").display());
        }
        let cases = discovery::find_cases(&folder, &description)?;
        Ok(Self { folder, name, description, cases })
    }

    /// The class of nnU-Net's that reads all its files: the one that `dataset.json` asks for, else the first that opens the first image.
    ///
    /// # Errors
    /// When none opens that image.
    pub fn reader(&self) -> Result<Reader, Error> {
        match (self.description.asked_reader(), self.cases.first()) {
            (Some(reader), _) => Ok(reader),
            (None, Some(case)) => Reader::of(&case.images[0]).map_err(|error| Error::of_case(&case.id, error.into())),
            // Nothing is read.
            (None, None) => Ok(Reader::usual(&self.description.file_ending).unwrap_or(Reader::SimpleItk)),
        }
    }

    /// Ids of all cases.
    pub fn case_ids(&self) -> Vec<String> {
        self.cases.iter().map(|case| case.id.to_string()).collect()
    }
}

impl Case {
    /// The label map of `labelsTr`, which is never optional.
    pub fn segmentation(&self) -> Option<&Path> {
        self.targets.get(SEGMENTATION)?.as_ref()?.file()
    }

    /// Every file that the case is read from: images first, then targets.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let targets = self.targets.values().flatten().filter_map(CaseTarget::file);
        self.images.iter().map(PathBuf::as_path).chain(targets)
    }
}
