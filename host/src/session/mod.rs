//! One fold of one run, put together: data set, plans, plugin and model, with the folder that its files go to.
//!
//! Everything that can be refused is refused before the folder is touched: the plugin is loaded before preprocessing begins, and
//! the model with the plugin's trainer is built before the first file is written.

use crate::dataset::{Dataset, Target, TargetKind, splits::Fold, splits::Split, splits::split_for};
use crate::device;
use crate::loading::{Loader, LoaderOptions, PipelineChoice, Sampling, Source, check_foreground, data_key};
use crate::network::{Model, PlainConvUNet};
use crate::plan::{Configuration, check_patch, three_dimensional};
use crate::plugin::Library;
use crate::predict::{Validation, validate};
use crate::preprocess::Prepared;
use crate::report::RunLog;
use crate::train::{self, End, Identity, Sgd, Training};
use anyhow::{Result, anyhow, bail, ensure};
use imaging::augment::Augmentation;
use indexmap::IndexMap;
use plugin_api::{Kind, Task};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tch::Device;

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
    /// bf16 autocast.
    pub bf16: bool,
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

/// A fold, ready to be trained or validated.
#[derive(Debug)]
pub struct Session<'a> {
    /// The raw data.
    pub dataset: &'a Dataset,
    /// Plans and store.
    pub prepared: &'a Prepared,
    /// What the trainer was told.
    pub task: Task,
    /// Trunk, heads and parameters.
    pub model: Model,
    /// Patch (z, y, x).
    pub patch: [usize; 3],
    /// Axes of mirroring.
    pub mirror: Vec<usize>,
    split: Split,
    augmentation: Augmentation,
    settings: &'a Settings,
    folder: PathBuf,
}

/// What is done about a fold that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse.
    Refuse,
    /// Go on with it.
    Resume,
    /// Remove it.
    Overwrite,
}

impl<'a> Session<'a> {
    /// Builds the model and checks everything; `model_folder` is where the folds of this run are. Writes nothing.
    pub fn new(
        dataset: &'a Dataset,
        prepared: &'a Prepared,
        library: &Library,
        settings: &'a Settings,
        fold: Fold,
        model_folder: &Path,
    ) -> Result<Self> {
        let configuration = &prepared.configuration;
        let kwargs = &configuration.architecture.arch_kwargs;
        let (patch_size, patch, augmentation) = patch_and_augmentation(configuration, library, settings)?;
        let batch_size = settings.batch_size.unwrap_or(configuration.batch_size);
        let split = split_for(fold, &prepared.folder, &dataset.folder, &dataset.case_ids())?;
        let signed = |sizes: &[usize]| sizes.iter().map(|size| *size as i64).collect::<Vec<_>>();
        let task = Task {
            dims: configuration.dims(),
            patch_size: signed(&patch_size),
            spacing: configuration.spacing.clone(),
            features: signed(&kwargs.features_per_stage),
            strides: kwargs.strides.iter().map(|stride| signed(stride)).collect(),
            targets: dataset.description.targets.iter().map(|(name, target)| (name.clone(), describe(target))).collect(),
            batch_size: batch_size as i64,
            batch_dice: configuration.batch_dice,
            epochs: settings.epochs,
            iterations: settings.iterations,
            device: device::name(settings.device),
            seed: settings.seed,
        };
        let channels = dataset.description.channel_names.len();
        let Settings { options, device, bf16, .. } = settings;
        let model = Model::new(&configuration.architecture, channels, library, &task, options, *device, *bf16)?;
        check_outputs(&model, &task)?;
        // nnU-Net mirrors in prediction along the axes that it mirrored in training.
        let flipped = augmentation.mirror.iter().filter(|mirror| mirror.probability > 0.0).flat_map(|mirror| &mirror.axes);
        let mirror = flipped.filter_map(|axis| axis.checked_sub(3 - task.dims)).collect();
        let folder = model_folder.join(format!("fold_{fold}"));
        Ok(Self { dataset, prepared, task, model, patch, mirror, split, augmentation, settings, folder })
    }

    /// Refuses what must not be trained into: a fold that is there unless `existing` says what to do with it, a fold without a
    /// checkpoint to resume, a folder whose other folds belong to another plugin or other options.
    pub fn check_existing(&self, existing: Existing) -> Result<()> {
        let begun = self.folder.exists();
        if begun && existing == Existing::Refuse {
            bail!(
                "{} is there already; go on with it (--resume), replace it (--overwrite), or give the run a --name",
                self.folder.display()
            );
        }
        ensure!(
            existing != Existing::Resume || !begun || self.checkpoint("latest").exists() || self.checkpoint("final").exists(),
            "{} has no checkpoint to resume from; start anew with --overwrite",
            self.folder.display()
        );
        self.check_other_folds()
    }

    /// One `plugin.json` speaks for all folds.
    fn check_other_folds(&self) -> Result<()> {
        let models = self.folder.parent().unwrap_or(&self.folder);
        let path = models.join("plugin.json");
        let Ok(text) = std::fs::read_to_string(&path) else { return Ok(()) };
        let others = std::fs::read_dir(models).into_iter().flatten().flatten().map(|entry| entry.path());
        let other_folds = others.filter(|other| other.is_dir() && *other != self.folder).count();
        let found: Value = serde_json::from_str(&text).map_err(|e| anyhow!("{}: {e}; remove it", path.display()))?;
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

    /// Trains the fold, from where a checkpoint left it if `existing` says so.
    pub fn train(&mut self, existing: Existing, stop: &AtomicBool) -> Result<End> {
        self.check_existing(existing)?;
        let latest = self.checkpoint("latest");
        let begun = self.folder.exists();
        let (train, validation, key) = self.loader_options();
        let identity = self.identity(&key);
        let optimiser = Sgd::standard(&self.model);
        let mut progress = train::Progress::default();
        if existing == Existing::Resume && begun {
            let path = if latest.exists() { latest } else { self.checkpoint("final") };
            progress = train::load_checkpoint(&path, &mut self.model, optimiser.state(), &identity)?;
        }
        // The last that can be refused; from here on files are written, or removed.
        let source = |cases: &[String]| Arc::new(self.source(cases));
        let first = (progress.epoch, progress.iteration);
        let train = Loader::start(source(&self.split.train), train, self.task.iterations, first)?;
        let iterations = self.settings.validation_iterations;
        let validation = Loader::start(source(&self.split.validation), validation, iterations, (progress.epoch, 0))?;
        if begun && existing == Existing::Overwrite {
            std::fs::remove_dir_all(&self.folder).map_err(|e| anyhow!("cannot remove {}: {e}", self.folder.display()))?;
        }
        self.write_description()?;
        let mut log = RunLog::open(&self.folder, progress.log_lengths)?;
        self.log_start(&mut log, &progress, &key);

        let training = Training {
            model: &mut self.model,
            task: &self.task,
            train,
            validation,
            validation_iterations: iterations,
            folder: self.folder.clone(),
            identity,
            stop,
            optimiser,
            progress,
            log,
        };
        Ok(training.run()?)
    }

    /// Loads the weights of the final checkpoint. Patch and mirroring are those that it was trained with, whatever was asked for.
    pub fn load_final(&mut self) -> Result<()> {
        let path = self.checkpoint("final");
        ensure!(path.exists(), "{} does not exist; train this fold first", path.display());
        let trained = train::load_weights(&path, &self.model.parameters)?;
        let plugin = &self.model.trainer.library().manifest.id;
        ensure!(
            trained.plugin == *plugin && trained.options == self.settings.options,
            "{}: it was trained by plugin {} with options {}; give the same",
            path.display(),
            trained.plugin,
            trained.options
        );
        (self.patch, self.mirror) = (trained.patch, trained.mirror);
        Ok(())
    }

    fn checkpoint(&self, which: &str) -> PathBuf {
        self.folder.join(format!("checkpoint_{which}.safetensors"))
    }

    /// Kind of the target of every output that has one.
    pub fn targets(&self) -> IndexMap<String, TargetKind> {
        let targets = &self.dataset.description.targets;
        let outputs = self.model.trainer.outputs().iter();
        outputs.filter_map(|output| Some((output.name.clone(), targets.get(output.target.as_ref()?)?.kind.clone()))).collect()
    }

    /// Predicts and measures the validation cases with the final checkpoint.
    pub fn validate(&mut self, stop: &AtomicBool) -> Result<End> {
        self.load_final()?;
        let validation = Validation {
            dataset: self.dataset,
            prepared: self.prepared,
            targets: self.targets(),
            patch: self.patch,
            mirror: &self.mirror,
            cases: &self.split.validation,
            folder: self.folder.join("validation"),
            stop,
        };
        let Some(lines) = validate(&self.model, &validation)? else {
            return Ok(End::Interrupted);
        };
        let mut log = RunLog::append(&self.folder)?;
        log.line(&format!("Validation of {} cases, {}:", self.split.validation.len(), validation.folder.display()));
        lines.iter().for_each(|line| log.line(line));
        Ok(End::Finished)
    }

    fn source(&self, cases: &[String]) -> Source {
        Source::of(self.dataset, self.prepared, cases.to_vec())
    }

    /// Options of the training and the validation loader, and the key of the data that they yield.
    fn loader_options(&self) -> (LoaderOptions, LoaderOptions, String) {
        let augmentation = self.augmentation.clone();
        let train = LoaderOptions {
            seed: self.settings.seed,
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
        let key = data_key(&self.source(&self.split.train), &train);
        (train, validation, key)
    }

    /// Shapes (z, y, x) of the decoder's levels, finest first.
    fn level_shapes(&self) -> Vec<[usize; 3]> {
        // Between levels; the entrance of the first stage has no stride. 2D has one slice at every level.
        let strides = self.task.strides[1..self.task.levels()].iter().map(|stride| match stride[..] {
            [y, x] => [1, y as usize, x as usize],
            _ => std::array::from_fn(|axis| stride[axis] as usize),
        });
        LoaderOptions::level_shapes(self.patch, &strides.collect::<Vec<_>>())
    }

    fn identity(&self, data_key: &str) -> Identity {
        let library = self.model.trainer.library();
        Identity {
            plugin: library.manifest.id.clone(),
            plugin_version: library.manifest.version.clone(),
            plugin_sha256: library.sha256.clone(),
            options: self.settings.options.clone(),
            data_key: data_key.to_owned(),
            patch: self.patch,
            mirror: self.mirror.clone(),
            epochs: self.task.epochs,
            iterations: self.task.iterations,
            bf16: self.model.bf16,
            libtorch: plugin_api::manifest::LIBTORCH.to_owned(),
            threads: tch::get_num_threads(),
        }
    }

    /// What prediction needs, beside the folds.
    fn write_description(&self) -> Result<()> {
        let library = self.model.trainer.library();
        let plugin = json!({
            "id": library.manifest.id,
            "version": library.manifest.version,
            "sha256": library.sha256,
            "options": self.settings.options,
            "outputs": self.model.trainer.outputs(),
        });
        let folder = self.folder.parent().unwrap_or(&self.folder);
        let files = [
            ("plans.json", serde_json::to_value(&self.prepared.plans)?),
            ("dataset.json", self.dataset.description.json.clone()),
            ("dataset_fingerprint.json", serde_json::to_value(&self.prepared.fingerprint)?),
            ("plugin.json", plugin),
        ];
        for (name, value) in files {
            let text = serde_json::to_string_pretty(&value)?;
            imaging::io::write_atomically(&folder.join(name), |file| file.write_all(text.as_bytes()))?;
        }
        Ok(())
    }

    fn log_start(&self, log: &mut RunLog, progress: &train::Progress, key: &str) {
        let library = self.model.trainer.library();
        let (train, validation) = (self.split.train.len(), self.split.validation.len());
        let weights: usize = self.model.parameters.iter().map(|(_, parameter)| parameter.tensor.numel()).sum();
        let outputs: Vec<&str> = self.model.trainer.outputs().iter().map(|output| output.name.as_str()).collect();
        let precision = if self.model.bf16 { "bf16" } else { "fp32" };
        let patch: Vec<String> = self.task.patch_size.iter().map(ToString::to_string).collect();
        log.line(&format!("Plugin {} {} ({})", library.manifest.id, library.manifest.version, library.path.display()));
        log.line(&format!("Outputs {}; {weights} parameters", outputs.join(", ")));
        log.line(&format!("Patch {}, batch size {}, {} levels", patch.join("×"), self.task.batch_size, self.task.levels()));
        log.line(&format!("{train} training and {validation} validation cases, data key {key}"));
        let PipelineChoice { pipeline, changes } = &self.settings.augmentation;
        let wish = library.manifest.augmentation.as_deref();
        let asker = if pipeline.is_none() && wish.is_some() { " (asked for by the plugin)" } else { "" };
        let changes: String = changes.iter().map(|change| format!(", {change}")).collect();
        log.line(&format!("Augmentation {}{asker}{changes}", self.settings.augmentation.name(wish)));
        log.line(&format!(
            "Device {}, {precision}, {} threads, {} workers",
            self.task.device,
            tch::get_num_threads(),
            self.settings.workers
        ));
        log.line(&format!("Results {}", self.folder.display()));
        if progress.epoch > 0 || progress.iteration > 0 {
            log.line(&format!("Resumed at epoch {}, iteration {}", progress.epoch, progress.iteration));
        }
    }
}

/// Refuses what need not wait until the data set is preprocessed: cascades and residual encoders, which are planned and preprocessed but
/// not trained yet, and settings that do not fit the plans or the data set.
pub fn check(dataset: &Dataset, library: &Library, settings: &Settings, name: &str, configuration: &Configuration) -> Result<()> {
    if let Some(stage) = &configuration.previous_stage {
        bail!(
            "configuration {name:?} is a cascade on the predictions of {stage:?}, which this version does not train; train {stage:?} or 3d_fullres"
        );
    }
    PlainConvUNet::check(&configuration.architecture)?;
    patch_and_augmentation(configuration, library, settings)?;
    let cases = dataset.case_ids();
    settings.sampling.check(&cases)?;
    if let Some(unknown) = settings.sampling.case_weights.keys().find(|name| !cases.contains(*name)) {
        let hint = crate::dataset::hint(unknown, cases.iter().map(String::as_str).take(1000));
        bail!("--case-weights: {} has no case {unknown:?}; {hint}", dataset.folder.display());
    }
    Ok(check_foreground(&dataset.description.targets, &settings.foreground)?)
}

/// The patch, as planned or as asked for, with two or three axes and with three, and how it is varied.
fn patch_and_augmentation(
    configuration: &Configuration,
    library: &Library,
    settings: &Settings,
) -> Result<(Vec<usize>, [usize; 3], Augmentation)> {
    let patch_size = if settings.patch_size.is_empty() { configuration.patch_size.clone() } else { settings.patch_size.clone() };
    check_patch(&patch_size, &configuration.architecture.arch_kwargs)?;
    let patch = three_dimensional(&patch_size).expect("checked");
    let wish = library.manifest.augmentation.as_deref();
    let augmentation = settings.augmentation.resolve(wish, patch, configuration.dims())?;
    Ok((patch_size, patch, augmentation))
}

/// A target as trainers are told of it.
fn describe(target: &Target) -> plugin_api::task::Target {
    let (kind, channels, classes, ignore) = match &target.kind {
        TargetKind::Labels(labels) => {
            let kind = if labels.has_regions() { Kind::Regions } else { Kind::Labels };
            let classes = labels.foreground().into_iter().map(|(name, _)| name).collect();
            (kind, labels.channels(), classes, labels.ignore.map(i64::from))
        }
        TargetKind::Regression { channels, .. } => (Kind::Regression, *channels, Vec::new(), None),
        TargetKind::Class { classes } => (Kind::Class, classes.len(), classes.clone(), None),
    };
    plugin_api::task::Target { kind, channels: channels as i64, classes, ignore, optional: target.optional }
}

/// Outputs must name targets that there are, of their kind.
fn check_outputs(model: &Model, task: &Task) -> Result<()> {
    let targets: &IndexMap<String, plugin_api::task::Target> = &task.targets;
    for output in model.trainer.outputs() {
        let name = &output.name;
        match (&output.target, output.kind) {
            (None, Kind::Aux) => {}
            (None, _) => bail!("plugin {}: output '{name}' has no target", model.trainer.library().manifest.id),
            (Some(target), kind) => {
                let Some(spec) = targets.get(target) else {
                    let known: Vec<&str> = targets.keys().map(String::as_str).collect();
                    bail!("output '{name}': the data set has no target '{target}'; there are: {}", known.join(", "));
                };
                ensure!(
                    spec.kind == kind && spec.channels == output.channels,
                    "output '{name}' is {kind:?} with {} channels, but its target '{target}' is {:?} with {}",
                    output.channels,
                    spec.kind,
                    spec.channels
                );
            }
        }
    }
    Ok(())
}
