//! What a run is refused for, and what a trainer is told of the data set.

use super::{Existing, Session, Settings};
use crate::artifact::REPLACED;
use crate::loading::check_foreground;
use crate::model::Model;
use crate::plugin::{self, Plugin};
use anyhow::{Result, anyhow, bail, ensure};
use data::dataset::splits::Split;
use data::dataset::{Case, Dataset, TargetSource};
use data::name::Name;
use data::plan::{Configuration, three_dimensional};
use imaging::augment::Augmentation;
use imaging::io::JsonError;
use indexmap::IndexMap;
use plugin_api::{Kind, Task};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Refuses what need not wait until the data set is preprocessed: cascades, which are planned and preprocessed but not trained yet, and
/// settings that do not fit the plans or the data set.
pub fn check(dataset: &Dataset, plugin: &Plugin, settings: &Settings, name: &str, configuration: &Configuration) -> Result<()> {
    if let Some(stage) = &configuration.previous_stage {
        bail!(
            "configuration {name:?} is a cascade on the predictions of {stage:?}, which this version does not train; train {stage:?} or 3d_fullres"
        );
    }
    patch_and_augmentation(configuration, plugin, settings)?;
    let cases = dataset.case_ids();
    settings.sampling.check(&cases)?;
    if let Some(unknown) = settings.sampling.case_weights.keys().find(|name| !cases.contains(*name)) {
        let hint = data::nearest::hint(unknown, cases.iter().map(String::as_str).take(1000));
        bail!("--case-weights: {} has no case {unknown:?}; {hint}", dataset.folder.display());
    }
    Ok(check_foreground(&dataset.description.targets, &settings.config.samples.foreground.foreground)?)
}

/// The patch, as planned or as asked for, with two or three axes and with three, and how it is varied.
pub(super) fn patch_and_augmentation(
    configuration: &Configuration,
    plugin: &Plugin,
    settings: &Settings,
) -> Result<(Vec<usize>, [usize; 3], Augmentation)> {
    let asked = &settings.config.training.patch_size;
    let patch_size = if asked.is_empty() { configuration.patch_size.clone() } else { asked.clone() };
    configuration.check_patch(&patch_size)?;
    let patch = three_dimensional(&patch_size).expect("checked");
    let wish = plugin.identity().manifest.augmentation.as_deref();
    let augmentation = settings.config.augmenting.resolve(wish, patch, configuration.dims())?;
    Ok((patch_size, patch, augmentation))
}

/// Outputs must name targets that there are, of their kind.
pub(super) fn check_outputs(model: &Model, task: &Task) -> Result<()> {
    let targets: &IndexMap<String, plugin_api::task::Target> = &task.targets;
    for output in model.trainer.outputs() {
        let name = &output.name;
        // Predictions of all outputs but the first lie in folders of that name.
        Name::new(name).map_err(|error| anyhow!("plugin {}: an output is named {error}", model.trainer.identity().manifest.id))?;
        match (&output.target, output.kind) {
            (None, Kind::Aux) => {}
            (None, _) => bail!("plugin {}: output '{name}' has no target", model.trainer.identity().manifest.id),
            (Some(target), kind) => {
                let Some(spec) = targets.get(target) else {
                    let known: Vec<&str> = targets.keys().map(String::as_str).collect();
                    bail!("output '{name}': there is no target '{target}'; there are: {}", known.join(", "));
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

/// Some case must have the target of every output: otherwise its loss term never occurs, and its metric stays NaN.
pub(super) fn check_presence(model: &Model, dataset: &Dataset, split: &Split) -> Result<()> {
    for output in model.trainer.outputs() {
        // For which cases a plugin makes targets of its own, only it knows: what is never there is named after an epoch.
        let Some((name, target)) = output.target.as_ref().and_then(|name| dataset.description.targets.get_key_value(name)) else {
            continue;
        };
        let from = if let TargetSource::Derived { from, .. } = &target.source { from } else { name };
        let has = |case: &&Case| matches!(case.targets.get(from), Some(Some(_)));
        let with: BTreeSet<&str> = dataset.cases.iter().filter(has).map(|case| case.id.as_str()).collect();
        ensure!(
            split.train.iter().any(|id| with.contains(id.as_str())),
            "output '{}' learns target '{name}', which none of the {} training cases of this fold has ({} cases of the data set do); add its files, or \
             leave the output out",
            output.name,
            split.train.len(),
            with.len()
        );
    }
    Ok(())
}

/// Runs that are compared must see the same batches, and reach the same epoch.
pub(super) fn check_arms(sessions: &[Session]) -> Result<()> {
    let Some((first, others)) = sessions.split_first() else { bail!("nothing to train") };
    if others.is_empty() {
        return Ok(());
    }
    ensure!(first.settings.config.upkeep.early_stop == 0, "--early-stop does not go with --arm: runs are compared at the same epoch");
    for other in others {
        let (a, b) = (&first.name, &other.name);
        ensure!(
            first.settings.recipe.common.accumulate == other.settings.recipe.common.accumulate,
            "arms {a} and {b} would see different batches: {a} takes {} a step, {b} {}; give both the same --accumulate",
            first.settings.recipe.common.accumulate,
            other.settings.recipe.common.accumulate
        );
        let (key, other_key) = (first.data_key(), other.data_key());
        let wish =
            |session: &Session| session.model.trainer.identity().manifest.augmentation.clone().unwrap_or_else(|| "default".to_owned());
        ensure!(
            key == other_key,
            "arms {a} and {b} would see different batches, their data keys are {key} and {other_key}: plugin {} asks for augmentation {}, {} for {}; \
             give one to both with --augmentation",
            first.model.trainer.identity().manifest.id,
            wish(first),
            other.model.trainer.identity().manifest.id,
            wish(other)
        );
    }
    Ok(())
}

impl Session<'_> {
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
        let plugin = self.model.trainer.plugin();
        match plugin::refused_by_schema(&**plugin, &self.settings.options()) {
            Ok(None) => {}
            Ok(Some(reason)) if !resumed => bail!("plugin {}: {reason}", plugin.identity().manifest.id),
            Ok(Some(reason)) => log::warn!("plugin {}: {reason}; the training goes on as it began", plugin.identity().manifest.id),
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
        let plugin = self.model.trainer.plugin();
        let same = found["id"] == plugin.identity().manifest.id.as_str() && found["options"] == self.settings.options();
        ensure!(
            same || other_folds == 0,
            "{}: the folds beside this one were trained with plugin {} and options {}; give this run a --name",
            path.display(),
            found["id"],
            found["options"]
        );
        Ok(())
    }
}
