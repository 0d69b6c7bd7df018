//! One fold of one run, put together: data set, plans, plugin and model, with the folder that its files go to.
//!
//! Everything that can be refused (`checks`) is refused before the folder is touched: the plugin is loaded before preprocessing begins, and
//! the model with the plugin's trainer is built before the first file is written. `description` is what then tells of the run.

mod checks;
mod description;
mod locking;

use crate::artifact::{
    self, Checkpoint, Identity, LibraryRecord, Machine, Origin, REPLACED, Streams, target_kinds, trained_task, warn_of_options,
};
use crate::cli::RecipeArgs;
use crate::config::Recipe;
use crate::device;
use crate::environment::{Environment, Stop};
use crate::loading::{Loader, LoaderOptions, PipelineChoice, Sampling, Source, data_key};
use crate::model::Model;
use crate::network::{Precision, all_told, task};
use crate::plugin::{self, Library};
use crate::predict::{Validation, validate};
use crate::report::RunLog;
use crate::train::{self, Arm, Average, EXAMPLES, End, Keeping, Optimiser, Reach, SharedLayer, Training, Watchdogs};
use anyhow::{Result, bail, ensure};
use data::dataset::{Dataset, TargetKind, splits::Fold, splits::Split, splits::split_for};
use data::evaluate::{Notes, Share};
use data::lock::Lock;
use data::preprocess::Prepared;
use imaging::augment::Augmentation;
use imaging::io::JsonError;
use indexmap::IndexMap;
use plugin_api::Task;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tch::Device;

pub use checks::check;

/// What a user decides about training, beyond data set and plugin.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Options of the plugin, a JSON object.
    pub options: Value,
    /// Epochs.
    pub epochs: u64,
    /// Training iterations an epoch.
    pub iterations: u64,
    /// Validation iterations an epoch.
    pub validation_iterations: u64,
    /// Samples a step; `None` as planned.
    pub batch_size: Option<usize>,
    /// Patch; empty as planned.
    pub patch_size: Vec<usize>,
    /// Of weights, batches and augmentation.
    pub seed: u64,
    /// Arithmetic of the network.
    pub precision: Precision,
    /// How weights are moved, as far as the user says.
    pub recipe: RecipeArgs,
    /// What it begins with.
    pub pretrained: Option<Pretrained>,
    /// Coarser levels are supervised, too.
    pub deep_supervision: bool,
    /// Which checkpoints are written.
    pub keeping: Keeping,
    /// What looks after the training.
    pub watchdogs: Watchdogs,
    /// Epochs from one example picture to the next.
    pub examples: Option<u64>,
    /// Steps from one comparison of terms' gradients to the next.
    pub conflicts: Option<u64>,
    /// How patches are varied.
    pub augmentation: PipelineChoice,
    /// Which cases, and how often foreground.
    pub sampling: Sampling,
    /// Label targets whose foreground is sampled.
    pub foreground: Vec<String>,
    /// Where it computes.
    pub device: Device,
    /// Loader threads.
    pub workers: usize,
}

/// Weights of another training that one begins with.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// A model folder, or a checkpoint in it.
    pub path: PathBuf,
    /// Whether heads are taken, too.
    pub heads: bool,
}

/// A run as it is asked for: a plugin, what the user decides, and a place for its folds.
#[derive(Debug)]
pub struct Setup {
    /// Name among the runs that it is compared with; empty where it is alone.
    pub name: String,
    /// The plugin.
    pub library: Library,
    /// All else.
    pub settings: Settings,
    /// Where its folds are.
    pub folder: PathBuf,
}

/// A fold, ready to be trained or validated.
#[derive(Debug)]
pub struct Session<'a> {
    /// The raw data.
    pub dataset: &'a Dataset,
    /// Plans and store.
    pub prepared: &'a Prepared,
    /// What the trainer was told, its own targets included.
    pub task: Task,
    /// Trunk, heads and parameters.
    pub model: Model,
    /// Patch (z, y, x).
    pub patch: [usize; 3],
    /// Axes of mirroring.
    pub mirror: Vec<usize>,
    /// The task as the host made it, before the plugin added targets.
    host_task: Task,
    streams: Streams,
    name: &'a str,
    inherited: Option<description::Inherited>,
    split: Split,
    augmentation: Augmentation,
    recipe: Recipe,
    settings: &'a Settings,
    folder: PathBuf,
    /// Held once something is written to the folder.
    lock: Option<Lock>,
    /// Where lines go.
    env: &'a Environment,
}

/// What is done about a fold that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Refuse,
    /// Go on with it.
    Resume {
        /// Under another plugin, plan or setting, too.
        anyway: bool,
    },
    /// Remove it.
    Overwrite,
}

/// What a training goes on with.
struct Begun {
    identity: Identity,
    optimiser: Optimiser,
    average: Option<Average>,
    progress: train::Progress,
}

/// How the random numbers of a fold are keyed. A resumed fold keeps what its checkpoint says; all of `setups` get the same, since they see the same batches.
///
/// # Errors
/// When a checkpoint cannot be read.
pub fn streams(setups: &[Setup], fold: Fold, existing: Existing) -> Result<Streams> {
    if matches!(existing, Existing::Resume { .. }) {
        for path in setups.iter().filter_map(|setup| artifact::newest_checkpoint(&setup.folder.join(format!("fold_{fold}")))) {
            let found = artifact::checkpoint_streams(&path)?;
            if found != Streams::NEW {
                return Ok(found);
            }
        }
    }
    Ok(Streams::NEW)
}

/// Trains one fold of one run, or of several that are compared, on the same batches.
///
/// # Errors
/// Among others, when they would not see the same batches.
pub fn train(sessions: &mut [Session], existing: Existing, stop: &Stop) -> Result<End> {
    checks::check_arms(sessions)?;
    let (first_options, _) = sessions[0].loader_options();
    first_options.check(&sessions[0].source(&sessions[0].split.train))?;
    sessions.iter_mut().try_for_each(Session::lock)?;
    let begun = sessions.iter_mut().map(|session| session.begin(existing)).collect::<Result<Vec<_>>>()?;
    // The last that can be refused; from here on files are written, or removed.
    let first = &sessions[0];
    let (train, validation) = first.loader_options();
    let transforms: Vec<_> = sessions.iter().map(|session| session.model.transform.clone()).collect();
    let source = |cases: &[String]| Arc::new(Source { transforms: transforms.clone(), ..first.source(cases) });
    let (batches, iterations) = (first.recipe.accumulate, first.settings.validation_iterations);
    // One that has stopped early sees no more batches.
    let going = begun.iter().filter(|begun| !begun.progress.stopped_early);
    let (epoch, iteration) = going.map(|begun| (begun.progress.epoch, begun.progress.iteration)).min().unwrap_or_default();
    let train = Loader::start(source(&first.split.train), train, first.task.iterations * batches, (epoch, iteration * batches))?;
    let validation = Loader::start(source(&first.split.validation), validation, iterations, (epoch, 0))?;
    let arms = sessions.iter_mut().zip(begun).enumerate();
    let arms = arms.map(|(number, (session, begun))| session.arm(number, begun, existing)).collect::<Result<_>>()?;
    Ok(Training { arms, train, validation, stop }.run()?)
}

impl<'a> Session<'a> {
    /// Builds the model of `setup` and checks everything. What is random is keyed by `streams`. Writes nothing.
    pub fn new(
        dataset: &'a Dataset,
        prepared: &'a Prepared,
        setup: &'a Setup,
        fold: Fold,
        streams: Streams,
        env: &'a Environment,
    ) -> Result<Self> {
        let Setup { name, library, settings, folder } = setup;
        let configuration = &prepared.configuration;
        let (patch_size, patch, mut augmentation) = checks::patch_and_augmentation(configuration, library, settings)?;
        // Until 2026-12, patches without augmentation were masked, too; a training goes on with what it began with.
        augmentation.mask |= streams == Streams::Seed;
        let recipe = checks::recipe(library, settings)?;
        let batch_size = settings.batch_size.unwrap_or(configuration.batch_size);
        let split = split_for(fold, &prepared.folder, &dataset.folder, &dataset.case_ids())?;
        let targets = all_told(&dataset.description.targets);
        let host_task = Task {
            batch_size: batch_size as i64,
            batch_dice: configuration.batch_dice,
            epochs: settings.epochs,
            iterations: settings.iterations,
            device: device::name(settings.device),
            seed: streams.seed(settings.seed, fold),
            ..task(&configuration.architecture, &patch_size, &configuration.spacing, targets)
        };
        let channels = dataset.description.channel_names.len();
        let Settings { options, device, precision, .. } = settings;
        let model = Model::new(&configuration.architecture, channels, library, &host_task, options, *device, *precision)?;
        let task = model.task.clone();
        checks::check_outputs(&model, &task)?;
        checks::check_presence(&model, dataset, &split)?;
        let inherited = settings.pretrained.as_ref().map(|asked| description::Inherited::load(asked, &model)).transpose()?;
        model.check_keeps()?;
        // nnU-Net mirrors in prediction along the axes that it mirrored in training.
        let flipped = augmentation.mirror.iter().filter(|mirror| mirror.probability > 0.0).flat_map(|mirror| &mirror.axes);
        let mirror = flipped.filter_map(|axis| axis.checked_sub(3 - task.dims)).collect();
        let folder = folder.join(format!("fold_{fold}"));
        Ok(Self {
            dataset,
            prepared,
            task,
            host_task,
            streams,
            model,
            patch,
            mirror,
            name,
            inherited,
            split,
            augmentation,
            recipe,
            settings,
            folder,
            lock: None,
            env,
        })
    }

    /// Refuses what must not be trained into: a fold that is there unless `existing` says what to do with it, a folder whose other folds
    /// belong to another plugin or other options.
    pub fn check_existing(&self, existing: Existing) -> Result<()> {
        if self.folder.exists() && existing == Existing::Refuse {
            bail!(
                "{} is there already; go on with it (--resume), replace it (--overwrite), or give the run a --name",
                self.folder.display()
            );
        }
        self.check_options(matches!(existing, Existing::Resume { .. }))?;
        self.check_other_folds()
    }

    /// Refuses options that the plugin took, but that its own schema does not know; of a training that is resumed it only says so.
    fn check_options(&self, resumed: bool) -> Result<()> {
        let library = self.model.trainer.library();
        match plugin::refused_by_schema(library, &self.settings.options) {
            Ok(None) => {}
            Ok(Some(reason)) if !resumed => bail!("plugin {}: {reason}", library.manifest.id),
            Ok(Some(reason)) => log::warn!("plugin {}: {reason}; the training goes on as it began", library.manifest.id),
            Err(error) => log::warn!("{error}; the options are not checked"),
        }
        Ok(())
    }

    /// One `plugin.json` speaks for all folds.
    fn check_other_folds(&self) -> Result<()> {
        let models = self.folder.parent().unwrap_or(&self.folder);
        let path = models.join("plugin.json");
        let found: Value = match imaging::io::read_json(&path) {
            Ok(found) => found,
            Err(JsonError::Read(_)) => return Ok(()),
            Err(error) => bail!("{}: {error}; remove it", path.display()),
        };
        let others = std::fs::read_dir(models).into_iter().flatten().flatten().map(|entry| entry.path());
        // What a kill left of one that was being replaced is none.
        let is_other =
            |other: &PathBuf| other.is_dir() && *other != self.folder && other.extension().is_none_or(|ending| ending != REPLACED);
        let other_folds = others.filter(is_other).count();
        let library = self.model.trainer.library();
        let same = found["id"] == library.manifest.id.as_str() && found["options"] == self.settings.options;
        ensure!(
            same || other_folds == 0,
            "{}: the folds beside this one were trained with plugin {} and options {}; give this run a --name",
            path.display(),
            found["id"],
            found["options"]
        );
        Ok(())
    }

    /// Everything that a training needs, from where its newest checkpoint left it if `existing` says so. A fold that was killed before its first
    /// checkpoint starts anew. Writes nothing.
    fn begin(&mut self, existing: Existing) -> Result<Begun> {
        self.check_existing(existing)?;
        let identity = self.identity(&self.data_key())?;
        let optimiser = Optimiser::new(&self.model.parameters, &self.recipe);
        let average = self.recipe.ema.map(|decay| Average::new(&self.model.parameters, decay));
        let mut progress = train::Progress::default();
        if let (Existing::Resume { anyway }, Some(path)) = (existing, artifact::newest_checkpoint(&self.folder)) {
            let state = optimiser.state().chain(average.iter().flat_map(Average::state));
            progress = artifact::load_checkpoint(&path, &mut self.model, state, &identity, anyway)?;
        }
        Ok(Begun { identity, optimiser, average, progress })
    }

    /// Writes, or removes, the first files, and puts the arm together.
    fn arm(&mut self, number: usize, begun: Begun, existing: Existing) -> Result<Arm<'_>> {
        let Begun { identity, optimiser, average, progress } = begun;
        if existing == Existing::Overwrite {
            self.remove()?;
        }
        self.write_description(&identity.origin)?;
        let mut log = RunLog::open(&self.folder, progress.log_lengths, self.name, &self.env.output)?;
        // Nobody else writes here: the fold is locked.
        let folders = [&self.folder, &self.folder.join(EXAMPLES)];
        folders.into_iter().for_each(|folder| imaging::io::remove_leftovers(folder, Duration::ZERO));
        self.write_debug(&identity, &progress)?;
        self.log_start(&mut log, &progress, &identity.data_key);
        let unseen = self.model.trainer.outputs().iter().filter_map(|output| output.target.clone()).collect();
        Ok(Arm {
            shared: SharedLayer::new(&self.model.parameters),
            level_weights: self.level_weights(),
            name: self.name.to_owned(),
            model: &mut self.model,
            task: &self.task,
            number,
            folder: self.folder.clone(),
            identity,
            keeping: self.settings.keeping,
            watchdogs: self.settings.watchdogs,
            examples: self.settings.examples,
            optimiser,
            average,
            progress,
            log,
            reach: Reach::default(),
            conflicts: self.settings.conflicts,
            saved: Instant::now(),
            names_checked: false,
            probed: None,
            unseen,
        })
    }

    /// Builds the network of the final checkpoint as prediction does, and loads its weights. Patch and mirroring are those that it was trained with,
    /// whatever was asked for.
    pub fn load_final(&mut self) -> Result<()> {
        let path = artifact::checkpoint_path(&self.folder, "final");
        ensure!(path.exists(), "{} does not exist; train this fold first", path.display());
        let checkpoint = Checkpoint::read(&path, &self.prepared.plans)?;
        let trained = &checkpoint.origin;
        let library = self.model.trainer.library();
        ensure!(
            trained.plugin == library.manifest.id && trained.options == self.settings.options,
            "{}: it was trained by plugin {} with options {}; give the same",
            path.display(),
            trained.plugin,
            trained.options
        );
        trained.tell_other_build(&path, library);
        warn_of_options(library, trained);
        // As prediction builds it: from what the trainer was told then, whatever was asked for now.
        let (configuration, description) = (&self.prepared.configuration, &self.dataset.description);
        let task = trained_task(&checkpoint, configuration, description)?;
        let (library, channels) = (library.clone(), description.channel_names.len());
        let Settings { options, device, precision, .. } = self.settings;
        self.model = checkpoint.build(&configuration.architecture, channels, &library, &task, options, (*device, *precision))?;
        self.model.check_keeps()?;
        checkpoint.warn_of_other_predictions(&self.model);
        (self.patch, self.mirror) = (trained.patch, trained.mirror.clone());
        Ok(())
    }

    /// Kind of the target of every output that has one.
    pub fn targets(&self) -> IndexMap<String, TargetKind> {
        target_kinds(&self.model, &self.dataset.description)
    }

    /// Predicts and measures the validation cases, or the first `most` of them, with the final checkpoint.
    pub fn validate(&mut self, most: Option<u64>, stop: &Stop) -> Result<End> {
        if self.folder.is_dir() {
            self.lock()?;
        }
        self.load_final()?;
        let all = self.split.validation.len();
        let measured = most.map_or(all, |most| usize::try_from(most).unwrap_or(all).min(all));
        let notes = Notes { split: self.drawn_split(), validation_cases: (measured < all).then_some(Share { all, measured }) };
        let validation = Validation {
            dataset: self.dataset,
            prepared: self.prepared,
            targets: self.targets(),
            patch: self.patch,
            mirror: &self.mirror,
            cases: &self.split.validation[..measured],
            folder: self.folder.join("validation"),
            notes,
            stop,
        };
        let Some(lines) = validate(&self.model, &validation)? else {
            return Ok(End::Interrupted);
        };
        let mut log = RunLog::append(&self.folder, self.name, &self.env.output)?;
        let of = if measured < all { format!(" of {all}") } else { String::new() };
        log.line(&format!("Validation of {measured}{of} cases, {}:", validation.folder.display()));
        lines.iter().for_each(|line| log.line(line));
        Ok(End::Finished)
    }

    /// How the split was made, where it is none of splits_final.json.
    fn drawn_split(&self) -> Option<String> {
        let (train, validation) = (self.split.train.len(), self.split.validation.len());
        self.split
            .drawn
            .then(|| format!("not in splits_final.json: {train} training and {validation} validation cases, drawn as nnU-Net does"))
    }

    fn source(&self, cases: &[String]) -> Source {
        Source::of(self.dataset, self.prepared, cases.to_vec())
    }

    /// Names the data that the training loader yields.
    fn data_key(&self) -> String {
        data_key(&self.source(&self.split.train), &self.loader_options().0)
    }

    /// Options of the training and the validation loader.
    fn loader_options(&self) -> (LoaderOptions, LoaderOptions) {
        let augmentation = self.augmentation.clone();
        let train = LoaderOptions {
            seed: self.task.seed,
            phase: crate::loading::Phase::Train,
            batch_size: self.task.batch_size as usize,
            patch: self.patch,
            levels: self.level_shapes(),
            sampling: self.settings.sampling.clone(),
            foreground: self.settings.foreground.clone(),
            augmentation,
            workers: self.settings.workers,
        };
        let sampling = Sampling { class_balanced: false, case_weights: BTreeMap::new(), ..train.sampling.clone() };
        let validation = LoaderOptions {
            phase: crate::loading::Phase::Validate,
            augmentation: Augmentation::none(),
            sampling,
            workers: 1,
            ..train.clone()
        };
        (train, validation)
    }

    /// Coarser levels are supervised unless the user or the plans say no.
    fn deep_supervision(&self) -> bool {
        let planned = self.prepared.configuration.architecture.arch_kwargs.extra.get("deep_supervision");
        self.settings.deep_supervision && planned != Some(&Value::Bool(false))
    }

    /// Levels that have targets.
    fn supervised(&self) -> usize {
        if self.deep_supervision() { self.task.levels() } else { 1 }
    }

    fn level_weights(&self) -> Vec<f64> {
        train::deep_supervision_weights(self.supervised())
    }

    /// Shapes (z, y, x) of the supervised levels, finest first.
    fn level_shapes(&self) -> Vec<[usize; 3]> {
        // Between levels; the entrance of the first stage has no stride. 2D has one slice at every level.
        let strides = self.task.strides[1..self.supervised()].iter().map(|stride| match stride[..] {
            [y, x] => [1, y as usize, x as usize],
            _ => std::array::from_fn(|axis| stride[axis] as usize),
        });
        LoaderOptions::level_shapes(self.patch, &strides.collect::<Vec<_>>())
    }

    fn identity(&self, data_key: &str) -> Result<Identity> {
        let library = self.model.trainer.library();
        let origin = Origin {
            plugin: library.manifest.id.clone(),
            plugin_version: library.manifest.version.clone(),
            library: Some(LibraryRecord::of(library)),
            options: self.settings.options.clone(),
            plan: serde_json::to_value(&self.prepared.configuration)?,
            patch: self.patch,
            mirror: self.mirror.clone(),
            task: Some(self.host_task.clone()),
        };
        Ok(Identity {
            origin,
            data_key: data_key.to_owned(),
            streams: self.streams,
            pretrained: self.inherited.as_ref().map(|inherited| inherited.sha256.clone()),
            epochs: self.task.epochs,
            iterations: self.task.iterations,
            validation_iterations: self.settings.validation_iterations,
            precision: self.model.precision,
            deep_supervision: self.deep_supervision(),
            recipe: self.recipe.clone(),
            machine: Machine::here(&self.task.device),
        })
    }
}
