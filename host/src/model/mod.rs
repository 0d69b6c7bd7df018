//! Trained models as folders, ours and nnU-Net's: what prediction needs to know, and the networks themselves.
//!
//! ```text
//! model.zip ─ unpack ┐
//! plans.json dataset.json ─ ModelFolder::open
//! fold_0/checkpoint_final.safetensors|pth … ─ Checkpoint::read ─┬ load ─ TrainedModel: one network a fold, patch, mirroring
//!                                                              ├ save: the same folder in either program's format
//!                                                              └ pretrain: a network that begins with its weights
//! ```
//! `nnunet` reads nnU-Net's checkpoints by way of [`pth`], which runs no pickle. A library inside a model folder is never loaded: the
//! plugin is found by its id, or where the user says.

mod checkpoint;
mod nnunet;
mod pretrain;
pub mod pth;
mod save;
mod unpack;

use crate::dataset::splits::Fold;
use crate::dataset::{self, Description, TargetKind};
use crate::network::{self, Model, Precision, all_told, task};
use crate::plan::{self, Configuration, Plans, check_patch};
use crate::plugin::{self, Library, LoadError, LoadedTransform, SearchError};
use crate::train::{CheckpointError, Origin};
use indexmap::IndexMap;
use plugin_api::Task;
use std::path::{Path, PathBuf};
use tch::Device;

pub use checkpoint::Checkpoint;
pub use pretrain::{Treatment, pretrain, table};
pub use save::{Format, save};
pub use unpack::unpack;

/// A model cannot be opened or built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No model.
    #[error(
        "{}: {reason}; a model folder has plans.json, dataset.json, and fold_0/checkpoint_final.safetensors (ours) or .pth (nnU-Net's)",
        path.display()
    )]
    NoModel {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A file that is not what it should be.
    #[error("{}: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Folds that do not belong together.
    #[error("{} and {} differ in {what}; predict with folds of one model", first.display(), second.display())]
    Folds {
        /// A checkpoint.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
        /// What is not the same.
        what: &'static str,
    },
    /// Its `dataset.json`.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// Its plans.
    #[error(transparent)]
    Plans(#[from] plan::Error),
    /// A checkpoint of ours.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint of nnU-Net's.
    #[error(transparent)]
    Pth(#[from] pth::Error),
    /// The plugin is not there.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The plugin is refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The network cannot be built.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// A file cannot be written.
    #[error(transparent)]
    Io(#[from] imaging::io::Error),
}

/// A model folder, opened.
#[derive(Debug)]
pub struct ModelFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Its plans.
    pub plans: Plans,
    /// Its data set.
    pub description: Description,
}

/// A model, ready to predict.
#[derive(Debug)]
pub struct TrainedModel {
    /// One network a fold, all with the same outputs.
    pub folds: Vec<Model>,
    /// How images are prepared.
    pub configuration: Configuration,
    /// Patch (z, y, x).
    pub patch: [usize; 3],
    /// Axes of mirroring in training, counted from z for 3D and from y for 2D.
    pub mirror: Vec<usize>,
    /// Kind of the target of every output that has one, in the order of outputs.
    pub targets: IndexMap<String, TargetKind>,
}

/// What all folds of a model have from its first.
struct First {
    origin: Origin,
    configuration: Configuration,
    library: Library,
    task: Task,
    transform: Option<LoadedTransform>,
}

impl ModelFolder {
    /// Reads what the folder says of its model.
    ///
    /// # Errors
    /// When it is no model folder, or the files that say so cannot be read.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let missing = |reason: &str| Error::NoModel { path: path.to_owned(), reason: reason.to_owned() };
        if !path.is_dir() {
            return Err(missing("is no folder"));
        }
        for file in ["plans.json", "dataset.json"] {
            if !path.join(file).is_file() {
                return Err(missing(&format!("has no {file}")));
            }
        }
        let plans = Plans::read(&path.join("plans.json"))?;
        plans.check_reader()?;
        Ok(Self { path: path.to_owned(), plans, description: Description::read(&path.join("dataset.json"))? })
    }

    /// The folder of a checkpoint, and the checkpoint: `path` itself, or the one of the folder `path`.
    ///
    /// # Errors
    /// When the folder has none or several, or cannot be opened.
    pub fn of_checkpoint(path: &Path) -> Result<(Self, PathBuf), Error> {
        if path.is_file() {
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let folder = absolute.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
            return Ok((Self::open(folder)?, path.to_owned()));
        }
        let folder = Self::open(path)?;
        let mut checkpoints = folder.checkpoints(&[], "final")?;
        match checkpoints.pop() {
            Some((_, one)) if checkpoints.is_empty() => Ok((folder, one)),
            _ => Err(Error::Broken { path: path.to_owned(), reason: "has several folds; name the checkpoint of one".to_owned() }),
        }
    }

    /// The checkpoints `which` (`final`, `best`, `latest`) of `folds`; where none are named, of all numbered folds that have one, else of
    /// fold `all`.
    ///
    /// # Errors
    /// When one is not there.
    pub fn checkpoints(&self, folds: &[Fold], which: &str) -> Result<Vec<(Fold, PathBuf)>, Error> {
        let find = |fold: Fold| {
            let folder = self.path.join(format!("fold_{fold}"));
            let names = ["safetensors", "pth"].map(|ending| folder.join(format!("checkpoint_{which}.{ending}")));
            names.into_iter().find(|path| path.is_file()).map(|path| (fold, path))
        };
        let missing = |fold: String| {
            let reason = format!("has no fold_{fold}/checkpoint_{which}.safetensors or .pth");
            Error::NoModel { path: self.path.clone(), reason }
        };
        if !folds.is_empty() {
            return folds.iter().map(|fold| find(*fold).ok_or_else(|| missing(fold.to_string()))).collect();
        }
        let entries = std::fs::read_dir(&self.path).into_iter().flatten().flatten();
        let number = |name: &str| name.strip_prefix("fold_")?.parse().ok();
        let mut numbers: Vec<usize> = entries.filter_map(|entry| number(entry.file_name().to_str()?)).collect();
        numbers.sort_unstable();
        let found: Vec<(Fold, PathBuf)> = numbers.into_iter().map(Fold::Number).filter_map(find).collect();
        if found.is_empty() { find(Fold::All).map(|one| vec![one]).ok_or_else(|| missing("N".to_owned())) } else { Ok(found) }
    }

    /// The name that the plans have for what a checkpoint was trained as.
    ///
    /// # Errors
    /// When it cannot be read, or the plans do not have it.
    pub fn configuration_name(&self, checkpoint: &Path) -> Result<String, Error> {
        self.name_of(&Checkpoint::read(checkpoint, &self.plans)?.origin)
    }

    fn name_of(&self, origin: &Origin) -> Result<String, Error> {
        let is_it = |planned: Configuration| serde_json::to_value(planned).is_ok_and(|planned| planned == origin.plan);
        let same = self.plans.configurations.keys().filter(|name| self.plans.configuration(name).is_ok_and(is_it));
        let same: Vec<&String> = same.collect();
        // Several may be the same; the folder says which one it was.
        let folder = self.path.file_name().and_then(|name| name.to_str()?.rsplit("__").next());
        let named = same.iter().find(|name| Some(name.as_str()) == folder).or(same.first());
        named.map(|name| (*name).clone()).ok_or_else(|| {
            let reason = "none of its configurations is the one that was trained; was it edited?".to_owned();
            Error::Broken { path: self.path.join("plans.json"), reason }
        })
    }

    /// Builds one network a checkpoint. `plugin` is an id or path; without one it is that of the checkpoint.
    ///
    /// # Errors
    /// When the plugin is not there, a checkpoint cannot be read, or they do not belong together.
    pub fn load(&self, checkpoints: &[PathBuf], plugin: Option<&str>, device: Device, precision: Precision) -> Result<TrainedModel, Error> {
        let mut first: Option<First> = None;
        let mut folds = Vec::new();
        for path in checkpoints {
            let checkpoint = Checkpoint::read(path, &self.plans)?;
            let first = match &first {
                Some(first) => first,
                None => {
                    let library = Library::load(&find_plugin(plugin, &checkpoint.origin.plugin, path)?)?;
                    checkpoint.origin.tell_other_build(&library);
                    first.insert(self.first(&checkpoint, library, device)?)
                }
            };
            check_same(&first.origin, &checkpoint.origin, &checkpoints[0], path)?;
            folds.push(self.build(&checkpoint, first, device, precision)?);
        }
        let Some(First { origin: Origin { patch, mirror, .. }, configuration, transform, .. }) = first else {
            return Err(Error::NoModel { path: self.path.clone(), reason: "no fold is named".to_owned() });
        };
        let targets = target_kinds(&folds[0], &self.description, transform.as_ref());
        Ok(TrainedModel { folds, configuration, patch, mirror, targets })
    }

    fn configuration(&self, checkpoint: &Checkpoint) -> Result<Configuration, Error> {
        let broken = |reason: String| Error::Broken { path: checkpoint.path.clone(), reason };
        let Origin { plan, patch, mirror, .. } = &checkpoint.origin;
        let configuration = Configuration::from_json("trained", plan.clone()).map_err(|error| broken(error.to_string()))?;
        if let Some(stage) = &configuration.previous_stage {
            return Err(broken(format!("takes predictions of {stage} as input (a cascade), which is not supported; use another model")));
        }
        let (dims, channels) = (configuration.dims(), self.description.channel_names.len());
        if check_patch(&patch[3 - dims..], &configuration.architecture.arch_kwargs).is_err() || mirror.iter().any(|axis| *axis >= dims) {
            return Err(broken(format!("its patch {patch:?} or its axes of mirroring {mirror:?} do not fit its network")));
        }
        if configuration.normalization_schemes.len() != channels {
            let found = configuration.normalization_schemes.len();
            return Err(broken(format!("was trained on {found} channels, but dataset.json names {channels}")));
        }
        Ok(configuration)
    }

    fn first(&self, checkpoint: &Checkpoint, library: Library, device: Device) -> Result<First, Error> {
        let configuration = self.configuration(checkpoint)?;
        let targets = all_told(&self.description.targets);
        let task = task(&configuration.architecture, &configuration.patch_size, &configuration.spacing, targets);
        let mut task = Task { device: crate::device::name(device), ..task };
        let origin = checkpoint.origin.clone();
        let transform = LoadedTransform::create(&library, &mut task, &origin.options).map_err(network::Error::from)?;
        Ok(First { origin, configuration, library, task, transform })
    }

    fn build(&self, checkpoint: &Checkpoint, first: &First, device: Device, precision: Precision) -> Result<Model, Error> {
        let First { origin, configuration, library, task, .. } = first;
        let channels = self.description.channel_names.len();
        let model = Model::new(&configuration.architecture, channels, library, task, &origin.options, device, precision)?;
        checkpoint.copy_to(&model.parameters)?;
        Ok(model)
    }
}

/// Kind of the target of every output of `model` that has one, be it of the data set or made by `transform`.
pub fn target_kinds(model: &Model, description: &Description, transform: Option<&LoadedTransform>) -> IndexMap<String, TargetKind> {
    let kind = |target: &String| match description.targets.get(target) {
        Some(target) => Some(&target.kind),
        None => transform?.kinds().get(target),
    };
    let outputs = model.trainer.outputs().iter();
    outputs.filter_map(|output| Some((output.name.clone(), kind(output.target.as_ref()?)?.clone()))).collect()
}

/// An id from a file must not lead to a path: that could be a library which came with the model.
fn find_plugin(asked: Option<&str>, id: &str, checkpoint: &Path) -> Result<PathBuf, Error> {
    if asked.is_none() && plugin::is_path(id) {
        let reason = format!("names the plugin {id:?}; expected an id. If you trust that library, name it with --plugin");
        return Err(Error::Broken { path: checkpoint.to_owned(), reason });
    }
    Ok(plugin::resolve(asked.unwrap_or(id))?)
}

fn check_same(first: &Origin, other: &Origin, first_path: &Path, other_path: &Path) -> Result<(), Error> {
    let differences = [
        (first.plugin != other.plugin || first.options != other.options, "plugin or options"),
        (first.plan != other.plan, "configuration"),
        (first.patch != other.patch, "patch"),
        (first.mirror != other.mirror, "axes of mirroring"),
    ];
    match differences.iter().find(|(differs, _)| *differs) {
        Some((_, what)) => Err(Error::Folds { first: first_path.to_owned(), second: other_path.to_owned(), what }),
        None => Ok(()),
    }
}
