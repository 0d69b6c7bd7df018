//! What `host run` is asked for, gathered from all places: one list of layers a run.

use super::super::place::{cores, precision, variable};
use super::args::{ExistingArgs, RunArgs};
use super::arms::{ArmArg, ArmsArgs};
use crate::assign::assign;
use crate::config::{Config, Layer, Layers, Missing, Oversampling, Samples};
use crate::device;
use crate::loading::Sampling;
use crate::network::{Processor, choose};
use crate::plugin::Plugin;
use crate::session::Settings;
use anyhow::{Result, anyhow, bail, ensure};
use imaging::augment::Augmentation;
use imaging::io::read_json;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Runs that are asked for.
#[derive(Debug)]
pub(in super::super) struct Request {
    /// What all of them share.
    shared: Layers,
    /// By name; the name of one that is alone is empty.
    pub arms: IndexMap<String, Arm>,
    /// What is done about folds that are there.
    pub existing: ExistingArgs,
}

/// A run that is asked for, alone or among others.
#[derive(Debug)]
pub(in super::super) struct Arm {
    layers: Layers,
    /// Id or path of its plugin.
    pub plugin: String,
}

impl Request {
    /// What the command line asks for, and the files that it names.
    pub fn of(args: &RunArgs) -> Result<Self> {
        let mut layers = Layers::default();
        if let Some(path) = &args.config {
            layers.add(Layer::of_file(path)?);
        }
        let flags = &args.settings.values;
        layers.add(of_environment(flags.contains_key("workers"))?);
        if let Some(path) = &args.options {
            layers.add(Layer::new(format!("--options {}", path.display()), setting("options", read_options(path)?))?);
        }
        layers.add(Layer::of_flags(flags.clone())?);
        let ArmsArgs { arm, arm_training } = &args.comparison;
        let in_file = layers.get("arms").and_then(Value::as_object).cloned().unwrap_or_default();
        if !arm.is_empty() || !in_file.is_empty() && !flags.contains_key("plugin") {
            let mut arms: Map<String, Value> = if arm.is_empty() { in_file } else { named(arm)? };
            for training in arm_training {
                find(&mut arms, &training.name).map_err(|e| anyhow!("--arm-training: {e}"))?.extend(training.values.clone());
            }
            let shared = layers.get("options").cloned().unwrap_or_else(|| json!({}));
            for change in &args.set {
                let (name, rest) = change.split_once('.').unwrap_or((change, ""));
                let arm = find(&mut arms, name).map_err(|e| anyhow!("--set {change}: {e}; with --arm it begins with a name"))?;
                let options = arm.entry("options").or_insert_with(|| shared.clone());
                ensure!(options.is_object(), "arm {name}: setting 'options': {options} is not of type \"object\"");
                set(options, rest)?;
            }
            layers.add(Layer::of_flags(setting("arms", Value::Object(arms)))?);
        } else {
            if let Some(training) = arm_training.first() {
                bail!("--arm-training {}: there is no --arm", training.name);
            }
            if !args.set.is_empty() {
                let mut options = layers.get("options").cloned().unwrap_or_else(|| json!({}));
                args.set.iter().try_for_each(|change| set(&mut options, change))?;
                layers.add(Layer::new("--set", setting("options", options))?);
            }
            if !in_file.is_empty() {
                layers.add(Layer::of_flags(setting("arms", json!({})))?);
            }
        }
        Self::new(layers, args.existing.clone())
    }

    /// What these layers ask for.
    pub fn new(layers: Layers, existing: ExistingArgs) -> Result<Self> {
        layers.check_complete()?;
        let in_arms = layers.get("arms").and_then(Value::as_object).cloned().unwrap_or_default();
        let place = layers.place("arms").unwrap_or_default();
        ensure!(
            in_arms.len() != 1,
            "{place}: one arm; --arm was given once, give it for every run that is to be compared, or --plugin for a single one"
        );
        let mut arms = IndexMap::new();
        if in_arms.is_empty() {
            arms.insert(String::new(), layers.clone());
        }
        for (name, values) in in_arms {
            let mut own = layers.clone();
            own.add(Layer::of_arm(&name, values.as_object().cloned().unwrap_or_default())?);
            arms.insert(name, own);
        }
        let arm = |(name, layers): (String, Layers)| match layers.get("plugin").and_then(Value::as_str).map(str::to_owned) {
            Some(plugin) => Ok((name, Arm { plugin, layers })),
            None if name.is_empty() => Err(Missing("plugin".to_owned()).into()),
            None => Err(anyhow!("arm {name}: setting 'plugin' is missing")),
        };
        Ok(Self { arms: arms.into_iter().map(arm).collect::<Result<_>>()?, shared: layers, existing })
    }

    /// What all runs share: data set, plans, threads, folders. Whether the rest is of use, each arm says.
    pub fn config(&self) -> Result<Config> {
        Ok(self.shared.complete()?)
    }

    /// What the same runs are asked for with, wherever that is done: files are named by their whole paths.
    pub fn repeat(&self, dataset: &Path, preprocessed: &Path, results: &Path) -> Map<String, Value> {
        let mut values = self.shared.of_user();
        for (name, path) in [("dataset", dataset), ("preprocessed", preprocessed), ("output", results)] {
            values.insert(name.to_owned(), absolute(path));
        }
        let is_file = |name: &str, text: &str| !(name == "augmentation" && Augmentation::NAMES.contains(&text)) && Path::new(text).exists();
        for name in ["pretrained", "case_weights", "augmentation"] {
            if let Some(path) = values.get(name).and_then(Value::as_str).filter(|text| is_file(name, text)) {
                values.insert(name.to_owned(), absolute(Path::new(path)));
            }
        }
        let in_arms = values.get_mut("arms").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
        let mut plugins: Vec<&mut Value> = in_arms.filter_map(|arm| arm.get_mut("plugin")).collect();
        plugins.iter_mut().for_each(|plugin| whole_path(plugin));
        values.get_mut("plugin").into_iter().for_each(whole_path);
        values
    }
}

/// The whole path, as text.
fn absolute(path: &Path) -> Value {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into()
}

fn whole_path(plugin: &mut Value) {
    if let Some(path) = plugin.as_str().filter(|spec| gate::search::is_path(spec)) {
        *plugin = absolute(Path::new(path));
    }
}

impl Arm {
    /// Everything that it is asked for, with what its plugin asks for, decided for this machine.
    pub fn settings(&self, plugin: &Plugin) -> Result<Settings> {
        let manifest = &plugin.identity().manifest;
        let layers = self.layers.with_manifest(Layer::of_manifest(&manifest.id, manifest.training.as_deref())?);
        let config = layers.config()?;
        let recipe = config.optimiser.decide(config.training.epochs).map_err(|e| {
            let place = layers.place("warmup").or(layers.place("schedule")).unwrap_or_default();
            anyhow!("{place}: {e}")
        })?;
        let device = device::select(&config.machine.device)?;
        let precision = precision(config.training.precision, device);
        let (engine, _) = choose(config.validation.engine, Some(precision), false, device, Processor::this())?;
        Ok(Settings {
            recipe,
            repeat: Map::new(),
            precision,
            engine,
            sampling: sampling(&config.samples)?,
            device,
            workers: config.machine.workers.map_or_else(|| (cores() / 4).clamp(1, 12), usize::from),
            config,
        })
    }
}

/// nnU-Net's variables; that of workers is not looked at where a flag says how many.
pub(in super::super) fn of_environment(without_workers: bool) -> Result<Layer> {
    let mut values = Map::new();
    for (name, asked) in [("output", "nnUNet_results"), ("preprocessed", "nnUNet_preprocessed")] {
        // One that is no text cannot be a setting; whoever uses these folders asks for the variable again.
        if let Some(folder) = variable(asked).as_deref().and_then(Path::to_str) {
            values.insert(name.to_owned(), json!(folder));
        }
    }
    if let (Ok(text), false) = (std::env::var("nnUNet_n_proc_DA"), without_workers) {
        let workers = text.parse::<u64>().map_err(|_| anyhow!("nnUNet_n_proc_DA is '{text}'; expected a number"))?;
        // nnU-Net's 0 means: no workers beside the main process. Here one thread is the least.
        values.insert("workers".to_owned(), json!(workers.clamp(1, u16::MAX.into())));
    }
    Ok(Layer::new("nnU-Net's variables", values)?)
}

/// Arms of the command line.
fn named(args: &[ArmArg]) -> Result<Map<String, Value>> {
    let mut arms = Map::new();
    for ArmArg { name, plugin, options } in args {
        let mut arm = Map::from_iter([("plugin".to_owned(), json!(plugin))]);
        if let Some(path) = options {
            arm.extend(setting("options", read_options(path).map_err(|e| anyhow!("arm {name}: {e}"))?));
        }
        ensure!(arms.insert(name.clone(), Value::Object(arm)).is_none(), "--arm {name}: the name is taken; every arm needs its own");
    }
    Ok(arms)
}

/// The arm that `name` means.
fn find<'a>(arms: &'a mut Map<String, Value>, name: &str) -> Result<&'a mut Map<String, Value>, String> {
    let suggestion = plugin_api::options::suggestion(name, arms.keys().map(String::as_str));
    arms.get_mut(name).and_then(Value::as_object_mut).ok_or_else(|| format!("there is no arm '{name}'{suggestion}"))
}

/// One setting.
pub(in super::super) fn setting(name: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value)])
}

/// The plugin's options: the file, with every `key.path=value` put in. Values are JSON where they parse as such, else text.
pub(in super::super) fn options(file: Option<&Path>, changes: &[String]) -> Result<Value> {
    let mut options = file.map_or_else(|| Ok(json!({})), read_options)?;
    changes.iter().try_for_each(|change| set(&mut options, change))?;
    Ok(options)
}

fn read_options(path: &Path) -> Result<Value> {
    let options: Value = read_json(path).map_err(|e| anyhow!("--options {}: {e}", path.display()))?;
    ensure!(options.is_object(), "--options: the file must hold a JSON object, e.g. {{\"outputs\": {{…}}}}");
    Ok(options)
}

fn set(options: &mut Value, change: &str) -> Result<()> {
    assign(options, change).map_err(|e| anyhow!("--set {change}: {e}"))
}

fn sampling(samples: &Samples) -> Result<Sampling> {
    let case_weights = match &samples.case_weights {
        None => BTreeMap::new(),
        Some(path) => {
            let wrong = |e: &dyn std::fmt::Display| anyhow!("--case-weights {}: {e}; expected {{\"case\": weight, …}}", path.display());
            read_json(path).map_err(|e| wrong(&e))?
        }
    };
    Ok(Sampling {
        foreground_share: samples.foreground_share,
        probabilistic: samples.oversampling == Oversampling::Random,
        class_balanced: samples.class_balanced,
        case_weights,
    })
}
