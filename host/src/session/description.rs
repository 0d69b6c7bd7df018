//! What is told of a run: the files beside its folds, `debug.json`, and the first lines of its log.

use super::Session;
use crate::artifact::{self, Checkpoint, Identity, ModelFolder, Origin, Treatment, pretrain};
use crate::config::{Common, Recipe, Weighting};
use crate::model::Model;
use crate::report::{RunLog, table};
use crate::train::Progress;
use anyhow::Result;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

impl Session<'_> {
    /// What prediction needs, beside the folds.
    pub(super) fn write_description(&self, origin: &Origin) -> Result<()> {
        let plugin = artifact::describe_plugin(origin, Some(self.model.trainer.outputs()));
        let folder = self.folder.parent().unwrap_or(&self.folder);
        let files = [
            ("plans.json", serde_json::to_value(&self.prepared.plans)?),
            ("dataset.json", self.dataset.description.json.clone()),
            ("dataset_fingerprint.json", serde_json::to_value(&self.prepared.fingerprint)?),
            ("plugin.json", plugin),
        ];
        for (name, value) in files {
            write_json(&folder.join(name), &value)?;
        }
        Ok(())
    }

    /// `debug.json`: all that one may have to know to say why a run did what it did.
    pub(super) fn write_debug(&self, identity: &Identity, progress: &Progress) -> Result<()> {
        let plugin = self.model.trainer.plugin();
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let debug = json!({
            "host": env!("CARGO_PKG_VERSION"),
            "command": std::env::args().collect::<Vec<_>>(),
            "started": seconds(SystemTime::now()),
            "resumed_at": {"epoch": progress.epoch, "iteration": progress.iteration},
            "config": self.settings.repeat,
            "seed": self.settings.config.training.seed,
            "identity": identity,
            "library": plugin.identity().path,
            "task": self.task,
            "outputs": self.model.trainer.outputs(),
            "augmentation": self.augmentation,
            "workers": self.settings.workers,
            "cases": {"train": self.split.train, "validation": self.split.validation},
        });
        write_json(&self.folder.join("debug.json"), &debug)
    }

    pub(super) fn log_start(&self, log: &mut RunLog, progress: &Progress, key: &str) {
        let plugin = self.model.trainer.plugin();
        let (train, validation) = (self.split.train.len(), self.split.validation.len());
        let weights: usize = self.model.parameters.iter().map(|(_, parameter)| parameter.tensor.numel()).sum();
        let outputs: Vec<&str> = self.model.trainer.outputs().iter().map(|output| output.name.as_str()).collect();
        let precision = self.model.precision.name();
        let patch: Vec<String> = self.task.patch_size.iter().map(ToString::to_string).collect();
        let (id, version, sha256) = (&plugin.identity().manifest.id, &plugin.identity().manifest.version, &plugin.identity().sha256);
        log.line(&format!("Plugin {id} {version} ({}), sha256 {sha256}", plugin.identity().path.display()));
        let extensions = plugin.extensions();
        log.line(&format!("Extensions of the plugin: {}", if extensions.is_empty() { "none".to_owned() } else { extensions.join(", ") }));
        log.line(&format!("Outputs {}; {weights} parameters", outputs.join(", ")));
        log.line(&format!("Patch {}, batch size {}, {} levels", patch.join("×"), self.task.batch_size, self.task.levels()));
        log.line(&format!("{train} training and {validation} validation cases, data key {key}"));
        if let Some(how) = self.drawn_split() {
            log.line(&format!("Split {how}"));
        }
        let augmenting = &self.settings.config.augmenting;
        let wish = plugin.identity().manifest.augmentation.as_deref();
        let asker = if augmenting.augmentation.is_none() && wish.is_some() { " (asked for by the plugin)" } else { "" };
        let changes: String = augmenting.augment.iter().map(|change| format!(", {change}")).collect();
        log.line(&format!("Augmentation {}{asker}{changes}", augmenting.name(wish)));
        log.line(&format!(
            "Device {}, {precision}, {} threads, {} workers",
            self.task.device,
            tch::get_num_threads(),
            self.settings.workers
        ));
        log.line(&format!("Optimiser {}", tell(&self.settings.recipe)));
        log.line(&format!("Results {}", self.folder.display()));
        let resumed = progress.epoch > 0 || progress.iteration > 0;
        if let Some(inherited) = self.inherited.as_ref().filter(|_| !resumed) {
            log.line(&format!("Begins with {}:", inherited.path.display()));
            table::lines(&artifact::treatments_table(&inherited.treatments)).lines().for_each(|line| log.line(&format!("  {line}")));
        }
        if resumed {
            log.line(&format!("Resumed at epoch {}, iteration {}", progress.epoch, progress.iteration));
        }
    }
}

/// What became of the weights that a training begins with.
#[derive(Debug)]
pub(super) struct Inherited {
    path: PathBuf,
    pub(super) sha256: String,
    treatments: Vec<Treatment>,
}

impl Inherited {
    /// Copies what fits of the model or checkpoint `asked` to `model`, with its heads or without.
    pub(super) fn load(asked: &Path, heads: bool, model: &Model) -> Result<Self> {
        let (folder, path) = ModelFolder::of_checkpoint(asked)?;
        let (checkpoint, sha256) = Checkpoint::read_hashed(&path, &folder.plans)?;
        let treatments = pretrain(&checkpoint, &model.parameters, heads)?;
        Ok(Self { path, sha256, treatments })
    }
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(imaging::io::write_atomically(path, |file| file.write_all(text.as_bytes()))?)
}

fn tell(recipe: &Recipe) -> String {
    let Recipe { common, learning_rate, schedule, weight_decay, .. } = recipe;
    let Common { optimiser, accumulate, ema, .. } = common;
    let mut told = format!("{optimiser:?}, learning rate {learning_rate}, {schedule:?}, weight decay {weight_decay}");
    let values = serde_json::to_value(common).expect("plain data");
    for setting in optimiser.rule().settings() {
        match &values[*setting] {
            Value::Bool(false) => {}
            Value::Bool(true) => told += &format!(", {setting}"),
            // Lists with a space after each comma.
            value => told += &format!(", {setting} {}", value.to_string().replace(',', ", ")),
        }
    }
    if *accumulate > 1 {
        told += &format!(", {accumulate} batches a step");
    }
    if recipe.weighting != Weighting::default() {
        let Weighting { strategy, schedules } = &recipe.weighting;
        let schedules: String = schedules.iter().map(|(term, schedule)| format!(", {term} {schedule:?}")).collect();
        told += &format!(", weights of terms {strategy:?}{schedules}");
    }
    if let Some(decay) = ema {
        told += &format!(", weights averaged with decay {decay}");
    }
    told
}
