//! A model folder, ours or nnU-Net's: what prediction needs to know, and the networks themselves.
//!
//! A library inside a model folder is never loaded: the plugin is found by its id, or where the user says.

use super::identity::is_same_plan;
use super::{Checkpoint, Error, Origin};
use crate::model::Model;
use crate::network::{self, Precision, Trunk, all_told, task};
use crate::plugin::{self, Plugin};
use data::dataset::splits::Fold;
use data::dataset::{Description, TargetKind};
use data::name::Name;
use data::plan::{Configuration, Plans};
use gate::Host;
use gate::search::resolve;
use imaging::io::Reader;
use indexmap::IndexMap;
use plugin_api::Task;
use std::path::{Path, PathBuf};
use tch::Device;

/// A model folder, opened.
#[derive(Debug)]
pub struct ModelFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Its plans.
    pub plans: Plans,
    /// Its data set.
    pub description: Description,
    /// Reads its images.
    pub reader: Reader,
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

/// The first fold of a model, which the others must be like.
struct First {
    path: PathBuf,
    origin: Origin,
    configuration: Configuration,
    task: Task,
    plugin: Plugin,
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
        let file = path.join("plans.json");
        let plans = Plans::read(&file).map_err(|error| Error::of_plans(&file, error))?;
        let reader = plans.reader()?;
        let description = Description::read_trained(&path.join("dataset.json")).map_err(Error::of_description)?;
        if let Some(gap) = description.segmentation().gap() {
            log::warn!("{}: {gap}", path.join("dataset.json").display());
        }
        Ok(Self { path: path.to_owned(), plans, description, reader })
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

    /// The name that the plans have for what was trained.
    ///
    /// # Errors
    /// When the plans do not have it.
    pub fn configuration_name(&self, origin: &Origin) -> Result<String, Error> {
        let is_it = |planned: Configuration| serde_json::to_value(planned).is_ok_and(|planned| is_same_plan(&planned, &origin.plan));
        let same = self.plans.configurations.keys().filter(|name| self.plans.configuration(name).is_ok_and(is_it));
        let same: Vec<&Name> = same.collect();
        // Several may be the same; the folder says which one it was.
        let folder = self.path.file_name().and_then(|name| name.to_str()?.rsplit("__").next());
        let named = same.iter().find(|name| Some(name.as_str()) == folder).or(same.first());
        named.map(ToString::to_string).ok_or_else(|| {
            let reason = "none of its configurations is the one that was trained; was it edited?".to_owned();
            Error::Broken { path: self.path.join("plans.json"), reason }
        })
    }

    /// Builds one network a checkpoint. `plugin` is an id or path, which `host` finds; without one it is that of the checkpoint.
    ///
    /// # Errors
    /// When the plugin is not there, a checkpoint cannot be read, or they do not belong together.
    pub fn load(
        &self,
        checkpoints: &[PathBuf],
        (plugin, host): (Option<&str>, &Host),
        device: Device,
        precision: Precision,
    ) -> Result<TrainedModel, Error> {
        let channels = self.description.channel_names.len();
        let mut first: Option<First> = None;
        let mut folds = Vec::new();
        for path in checkpoints {
            let checkpoint = Checkpoint::read(path, &self.plans)?;
            let configuration = self.configuration(&checkpoint)?;
            let trunk = network::trunk(&configuration.architecture)
                .map_err(|error| Error::Broken { path: path.clone(), reason: error.to_string() })?;
            let task = trained_task(&checkpoint, &configuration, &*trunk, &self.description)?;
            let first = match &first {
                Some(first) => first,
                None => {
                    let origin = checkpoint.origin.clone();
                    let plugin = plugin::load(&find_plugin(plugin, &origin, path, host)?, host)?;
                    warn_of_options(&plugin, &origin);
                    first.insert(First { path: path.clone(), origin, configuration, task: task.clone(), plugin })
                }
            };
            first.check_same(&checkpoint, &task)?;
            let First { origin, plugin, .. } = first;
            let model = checkpoint.build(&*trunk, channels, plugin, &task, &origin.options, (device, precision))?;
            model.check_keeps()?;
            checkpoint.origin.tell_other_build(path, plugin.identity());
            checkpoint.warn_of_other_predictions(&model);
            folds.push(model);
        }
        let Some(First { origin: Origin { patch, mirror, .. }, configuration, .. }) = first else {
            return Err(Error::NoModel { path: self.path.clone(), reason: "no fold is named".to_owned() });
        };
        let targets = target_kinds(&folds[0], &self.description);
        Ok(TrainedModel { folds, configuration, patch, mirror, targets })
    }

    fn configuration(&self, checkpoint: &Checkpoint) -> Result<Configuration, Error> {
        let broken = |reason: String| Error::Broken { path: checkpoint.path.clone(), reason };
        let Origin { plan, patch, mirror, .. } = &checkpoint.origin;
        let configuration =
            Configuration::from_json("trained", plan.clone()).map_err(|error| match Error::of_plans(&checkpoint.path, error) {
                Error::Plans(error) => broken(error.to_string()),
                other => other,
            })?;
        if let Some(stage) = &configuration.previous_stage {
            return Err(broken(format!("takes predictions of {stage} as input (a cascade), which is not supported; use another model")));
        }
        let (dims, channels) = (configuration.dims(), self.description.channel_names.len());
        if let Err(error) = configuration.check_patch(&patch[3 - dims..]) {
            return Err(broken(error.to_string()));
        }
        if !are_axes(mirror, dims) {
            return Err(broken(format!("its axes of mirroring are {mirror:?}; expected some of 0 to {}, each once", dims - 1)));
        }
        if configuration.normalization_schemes.len() != channels {
            let found = configuration.normalization_schemes.len();
            return Err(broken(format!("was trained on {found} channels, but dataset.json names {channels}")));
        }
        Ok(configuration)
    }
}

/// Whether `axes` are some of `dims`, each once: prediction runs the network for every subset of them.
fn are_axes(axes: &[usize], dims: usize) -> bool {
    axes.iter().enumerate().all(|(number, axis)| *axis < dims && !axes[..number].contains(axis))
}

/// What the trainer of `checkpoint` was told. Where the checkpoint does not say, as nnU-Net's and our oldest do not, it was the patch that
/// it was trained on, and what plan and data set say.
///
/// # Errors
/// When it was told of another network or of other targets than these.
pub fn trained_task(
    checkpoint: &Checkpoint,
    configuration: &Configuration,
    trunk: &dyn Trunk,
    description: &Description,
) -> Result<Task, Error> {
    let Origin { patch, task: told, .. } = &checkpoint.origin;
    let patch = &patch[3 - configuration.dims()..];
    let planned = task(trunk, patch, &configuration.spacing, all_told(&description.targets));
    let Some(told) = told else { return Ok(planned) };
    let broken = |reason: String| Err(Error::Broken { path: checkpoint.path.clone(), reason });
    let form = |target: &plugin_api::task::Target| (target.kind, target.channels);
    let changed = told.targets.iter().find(|(name, told)| planned.targets.get(*name).is_none_or(|target| form(target) != form(told)));
    if let Some((name, _)) = changed {
        return broken(format!("was trained for another target '{name}' than dataset.json has; was that edited?"));
    }
    match difference(told, &Task { targets: told.targets.clone(), ..planned }) {
        Some(what) => broken(format!("says that its trainer was told of another {what} than its network has")),
        None => Ok(told.clone()),
    }
}

/// What two tasks differ in of all that heads may depend on, if anything.
fn difference(a: &Task, b: &Task) -> Option<&'static str> {
    let differences = [
        (a.dims != b.dims || a.patch_size != b.patch_size, "patch"),
        (a.spacing != b.spacing, "spacing"),
        (a.features != b.features || a.strides != b.strides, "architecture"),
        (a.targets != b.targets, "set of targets"),
    ];
    differences.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what)
}

impl First {
    /// Refuses a checkpoint that does not belong to the same model.
    fn check_same(&self, other: &Checkpoint, task: &Task) -> Result<(), Error> {
        let (first, origin) = (&self.origin, &other.origin);
        let differences = [
            (first.plugin != origin.plugin || first.options != origin.options, "plugin or options"),
            (!is_same_plan(&first.plan, &origin.plan), "configuration"),
            (first.patch != origin.patch, "patch"),
            (first.mirror != origin.mirror, "axes of mirroring"),
        ];
        let what = differences.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what).or(difference(&self.task, task));
        match what {
            Some(what) => Err(Error::Folds { first: self.path.clone(), second: other.path.clone(), what }),
            None => Ok(()),
        }
    }
}

/// Kind of the target of every output of `model` that has one, be it of the data set or made by the plugin.
pub fn target_kinds(model: &Model, description: &Description) -> IndexMap<String, TargetKind> {
    let kind = |target: &String| match description.targets.get(target) {
        Some(target) => Some(&target.kind),
        None => model.transform.as_ref()?.kinds().get(target),
    };
    let outputs = model.trainer.outputs().iter();
    outputs.filter_map(|output| Some((output.name.clone(), kind(output.target.as_ref()?)?.clone()))).collect()
}

/// Says so if the schema of `plugin` refuses the options that a network was trained with: another version, maybe.
pub fn warn_of_options(plugin: &Plugin, origin: &Origin) {
    match plugin::refused_by_schema(&**plugin, &origin.options) {
        Ok(None) => {}
        Ok(Some(reason)) => log::warn!("plugin {}: of the options that it was trained with, {reason}", plugin.identity().manifest.id),
        Err(error) => log::warn!("{error}; the options that it was trained with are not checked"),
    }
}

/// The library that is asked for; else the very one that trained `checkpoint`, where this user trained with it; else the one with its id in
/// the search path. What a file says must not lead to a path: that could be a library which came with the model.
fn find_plugin(asked: Option<&str>, origin: &Origin, checkpoint: &Path, host: &Host) -> Result<PathBuf, Error> {
    if let Some(asked) = asked {
        return Ok(resolve(asked, host)?);
    }
    let id = &origin.plugin;
    if gate::search::is_path(id) {
        let reason = format!("names the plugin {id:?}; expected an id. If you trust that plugin, name it with --plugin");
        return Err(Error::Broken { path: checkpoint.to_owned(), reason });
    }
    if let Some(path) = origin.library.as_ref().and_then(|library| plugin::remembered(&library.sha256)) {
        log::info!("plugin {id} as this model was trained with it: {}", path.display());
        return Ok(path);
    }
    Ok(resolve(id, host)?)
}
