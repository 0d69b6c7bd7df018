//! One fold of one run, put together: data set, plans, plugin and model, with the folder that its files go to.
//!
//! Everything that can be refused (`checks`) is refused before the folder is touched: the plugin is loaded before preprocessing begins, and
//! the model with the plugin's trainer is built before the first file is written. `training` trains the fold, `validation` measures the result;
//! `description` is what tells of the run.

mod checks;
mod description;
mod locking;
mod settings;
mod training;
mod validation;

use crate::artifact::Streams;
use crate::device;
use crate::environment::Environment;
use crate::loading::{LoaderOptions, Sampling, Share, Source, data_key};
use crate::model::Model;
use crate::network::{Trunk, all_told, task, trunk};
use crate::train::deep_supervision_weights;
use anyhow::Result;
use data::dataset::{Dataset, splits::Fold, splits::Split, splits::split_for};
use data::lock::Lock;
use data::preprocess::Prepared;
use imaging::augment::Augmentation;
use plugin_api::Task;
use std::collections::BTreeMap;
use std::path::PathBuf;

pub use checks::check;
pub use settings::{Existing, Settings, Setup};
pub use training::{streams, train};

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
    trunk: Box<dyn Trunk>,
    streams: Streams,
    name: &'a str,
    inherited: Option<description::Inherited>,
    split: Split,
    augmentation: Augmentation,
    settings: &'a Settings,
    folder: PathBuf,
    /// Held once something is written to the folder.
    lock: Option<Lock>,
    /// Where lines go.
    env: &'a Environment,
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
        let Setup { name, plugin, settings, folder } = setup;
        let (configuration, config) = (&prepared.configuration, &settings.config);
        let (patch_size, patch, mut augmentation) = checks::patch_and_augmentation(configuration, plugin, settings)?;
        // Until 2026-12, patches without augmentation were masked, too; a training goes on with what it began with.
        augmentation.mask |= streams == Streams::Seed;
        let batch_size = config.training.batch_size.unwrap_or(configuration.batch_size);
        let split = split_for(fold, &prepared.folder, &dataset.folder, &dataset.case_ids())?;
        let targets = all_told(&dataset.description.targets);
        let trunk = trunk(&configuration.architecture)?;
        let host_task = Task {
            batch_size: batch_size as i64,
            batch_dice: configuration.batch_dice,
            epochs: config.training.epochs,
            iterations: config.training.iterations,
            device: device::name(settings.device),
            seed: streams.seed(config.training.seed, fold),
            ..task(&*trunk, &patch_size, &configuration.spacing, targets)
        };
        let channels = dataset.description.channel_names.len();
        let model = Model::new(&*trunk, channels, plugin, &host_task, &settings.options(), settings.device, settings.precision)?;
        let task = model.task.clone();
        checks::check_outputs(&model, &task)?;
        checks::check_presence(&model, dataset, &split)?;
        let heads = config.training.pretrained_heads;
        let inherited = config.training.pretrained.as_ref().map(|path| description::Inherited::load(path, heads, &model)).transpose()?;
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
            trunk,
            streams,
            model,
            patch,
            mirror,
            name,
            inherited,
            split,
            augmentation,
            settings,
            folder,
            lock: None,
            env,
        })
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
            foreground: self.settings.config.samples.foreground.foreground.clone(),
            augmentation,
            workers: self.settings.workers,
            share: Share::default(),
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
        !self.settings.config.training.no_deep_supervision && self.trunk.deep_supervision()
    }

    /// Levels that have targets.
    fn supervised(&self) -> usize {
        if self.deep_supervision() { self.task.levels() } else { 1 }
    }

    fn level_weights(&self) -> Vec<f64> {
        deep_supervision_weights(self.supervised())
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
}
