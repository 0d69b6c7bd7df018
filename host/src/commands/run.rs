//! `host run`: plans, preprocesses, trains and validates.

use super::Outcome;
use super::place::{Place, cores, precision, results};
use super::runs::compare_cases;
use crate::assign::assign;
use crate::cli::{ArmArg, CaseThreads, Oversampling, RunArgs, SamplingArgs};
use crate::console::say;
use crate::device;
use crate::environment::Environment;
use crate::loading::Sampling;
use crate::plugin::{self, Plugin};
use crate::session::{self, Existing, Pretrained, Session, Settings, Setup};
use crate::train::{End, Keeping, Watchdogs};
use anyhow::{Result, anyhow, bail};
use data::dataset::Dataset;
use data::dataset::splits::Fold;
use data::plan::PlanOptions;
use data::preprocess::Prepared;
use gate::search::resolve;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Runs every fold.
pub fn execute(args: &RunArgs, env: &Environment) -> Result<Outcome> {
    let run = Run::open(args, env)?;
    env.stop.listen().map_err(|e| anyhow!("cannot listen for Ctrl-C: {e}"))?;
    let existing = match (args.resume || args.resume_anyway, args.overwrite) {
        (true, _) => Existing::Resume { anyway: args.resume_anyway },
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    // What can be refused is refused before the first of several folds is trained for hours.
    for fold in args.fold.iter().filter(|_| !args.validate_only) {
        let sessions = run.sessions(*fold, existing, env)?;
        run.setups.iter().zip(&sessions).try_for_each(|(setup, session)| of_arm(&setup.name, session.check_existing(existing)))?;
    }
    if !args.validate_only {
        let plugins = run.setups.iter().map(|setup| setup.plugin.identity());
        let plugins: BTreeMap<&str, _> = plugins.map(|plugin| (plugin.sha256.as_str(), plugin)).collect();
        plugins.into_values().for_each(plugin::remember);
    }
    for fold in &args.fold {
        let mut sessions = run.sessions(*fold, existing, env)?;
        if !args.validate_only && session::train(&mut sessions, existing, &env.stop)? == End::Interrupted {
            return Ok(Outcome::Interrupted);
        }
        for session in sessions.iter_mut().filter(|_| !args.no_validation) {
            if session.validate(args.val_cases, &env.stop)? == End::Interrupted {
                return Ok(Outcome::Interrupted);
            }
        }
    }
    match run.setups.len() {
        1 => {}
        _ if args.no_validation => say!(env, "The arms are not compared, since they were not validated (--validate-only does both)")?,
        _ => run.compare(args, env)?,
    }
    Ok(Outcome::Done)
}

/// A run, or several that are compared, opened: plugins are loaded, the data is prepared.
pub(super) struct Run {
    pub dataset: Dataset,
    pub prepared: Prepared,
    setups: Vec<Setup>,
}

impl Run {
    /// Loads the plugins and prepares the data; nothing is written to the results yet.
    pub fn open(args: &RunArgs, env: &Environment) -> Result<Self> {
        let wanted = arms(args)?;
        let mut loaded = Vec::new();
        for arm in &wanted {
            let path = of_arm(&arm.name, resolve(&arm.plugin, &env.plugins))?;
            let settings = of_arm(&arm.name, settings(args, arm))?;
            loaded.push((arm, of_arm(&arm.name, plugin::load(&path, &env.plugins))?, settings));
        }
        if let Some(threads) = args.threads {
            tch::set_num_threads(threads.into());
        }
        let place = Place::open(&args.data)?;
        say!(
            env,
            "Data set {} with {} cases; preprocessed in {}",
            place.dataset.folder.display(),
            place.dataset.cases.len(),
            place.preprocessed.display()
        )?;
        let mut prepared = place.prepare(&CaseThreads::default(), |preparation| {
            let plans = preparation.plans(&PlanOptions::named(&args.plans))?;
            let configuration = plans.configuration(&args.configuration)?;
            for (arm, plugin, settings) in &loaded {
                of_arm(&arm.name, session::check(&place.dataset, plugin, settings, &args.configuration, &configuration))?;
            }
            Ok(preparation.preprocess(&plans, &[&args.configuration], false)?)
        })?;
        let prepared = prepared.pop().expect("one for every configuration");
        let dataset = place.dataset;
        let results = results(args.output.as_deref()).join(&*dataset.name);
        let setup = |(arm, plugin, settings): (&ArmArg, Plugin, Settings)| {
            let names = [args.name.as_deref(), Some(arm.name.as_str()).filter(|name| !name.is_empty())];
            let words: Vec<&str> = [plugin.identity().manifest.id.as_str()].into_iter().chain(names.into_iter().flatten()).collect();
            let folder = results.join(format!("{}__{}__{}", words.join("-"), args.plans, args.configuration));
            Setup { name: arm.name.clone(), plugin, settings, folder }
        };
        let setups = loaded.into_iter().map(setup).collect();
        Ok(Self { dataset, prepared, setups })
    }

    /// One fold of every run.
    pub fn sessions<'a>(&'a self, fold: Fold, existing: Existing, env: &'a Environment) -> Result<Vec<Session<'a>>> {
        let streams = session::streams(&self.setups, fold, existing)?;
        let session = |setup| Session::new(&self.dataset, &self.prepared, setup, fold, streams, env);
        self.setups.iter().map(|setup| of_arm(&setup.name, session(setup))).collect()
    }

    /// The report on several runs, beside them.
    fn compare(&self, args: &RunArgs, env: &Environment) -> Result<()> {
        let folds = |setup: &Setup| args.fold.iter().map(|fold| setup.folder.join(format!("fold_{fold}"))).collect();
        let runs: Vec<_> = self.setups.iter().map(|setup| (setup.name.clone(), folds(setup))).collect();
        let names = args.name.iter().map(AsRef::as_ref).chain(self.setups.iter().map(|setup| setup.name.as_str()));
        let words: Vec<&str> = ["comparison"].into_iter().chain(names).collect();
        let report = format!("{}__{}__{}", words.join("-"), args.plans, args.configuration);
        compare_cases(&runs, &self.setups[0].folder.with_file_name(report), env)
    }
}

/// `result`, whose error says which arm it is about where there are several.
fn of_arm<T>(name: &str, result: Result<T, impl Into<anyhow::Error>>) -> Result<T> {
    let named = |error: anyhow::Error| if name.is_empty() { error } else { anyhow!("arm {name}: {error}") };
    result.map_err(|error| named(error.into()))
}

/// What is to be run: a single plugin is an arm without a name.
fn arms(args: &RunArgs) -> Result<Vec<ArmArg>> {
    match &args.plugin {
        Some(plugin) => Ok(vec![ArmArg { name: String::new(), plugin: plugin.clone(), options: args.options.clone() }]),
        None => {
            args.comparison.check().map_err(|e| anyhow!(e))?;
            Ok(args.comparison.arms.clone())
        }
    }
}

/// What `--set` says of `arm`: everything where it is alone, else what begins with its name.
fn changes<'a>(args: &'a RunArgs, arm: &ArmArg) -> Result<Vec<&'a str>> {
    let mut own = Vec::new();
    for change in &args.set {
        if arm.name.is_empty() {
            own.push(change.as_str());
            continue;
        }
        let (name, rest) = change.split_once('.').unwrap_or((change, ""));
        let meant = args.comparison.find(name).map_err(|e| anyhow!("--set {change}: {e}; with --arm it begins with a name"))?;
        if meant.name == arm.name {
            own.push(rest);
        }
    }
    Ok(own)
}

fn settings(args: &RunArgs, arm: &ArmArg) -> Result<Settings> {
    let workers = match (args.workers, std::env::var("nnUNet_n_proc_DA").ok()) {
        (Some(workers), _) => usize::from(workers),
        // nnU-Net's 0 means: no workers beside the main process. Here one thread is the least.
        (None, Some(text)) => text.parse::<usize>().map_err(|_| anyhow!("nnUNet_n_proc_DA is '{text}'; expected a number"))?.max(1),
        (None, None) => (cores() / 4).clamp(1, 12),
    };
    let device = device::select(&args.device)?;
    let training = &args.training;
    let own = args.comparison.training.iter().filter(|training| training.name == arm.name);
    let recipe = own.fold(args.recipe.clone(), |others, own| own.recipe.clone().or(others));
    Ok(Settings {
        options: options(arm.options.as_deref(), &changes(args, arm)?)?,
        epochs: args.epochs,
        iterations: args.iterations,
        validation_iterations: args.val_iterations,
        batch_size: args.batch_size.map(|size| size as usize),
        patch_size: args.patch_size.clone(),
        seed: args.seed,
        precision: precision(args.precision, device),
        recipe,
        pretrained: args.pretrained.as_ref().map(|path| Pretrained { path: path.clone(), heads: args.pretrained_heads }),
        deep_supervision: !args.no_deep_supervision,
        keeping: Keeping {
            every: training.checkpoint_every,
            interval: (training.checkpoint_minutes > 0.0).then(|| Duration::from_secs_f64(training.checkpoint_minutes * 60.0)),
            last: training.keep_last,
        },
        watchdogs: Watchdogs {
            nonfinite: training.on_nonfinite,
            plateau: above_zero(training.plateau),
            early_stop: above_zero(training.early_stop),
        },
        examples: above_zero(training.examples),
        conflicts: above_zero(training.conflicts),
        augmentation: args.augmentation.choice(),
        sampling: sampling(&args.sampling)?,
        foreground: args.foreground.clone(),
        device,
        workers,
    })
}

fn above_zero(number: u64) -> Option<u64> {
    (number > 0).then_some(number)
}

fn sampling(args: &SamplingArgs) -> Result<Sampling> {
    let case_weights = match &args.case_weights {
        None => BTreeMap::new(),
        Some(path) => {
            let wrong = |e: &dyn std::fmt::Display| anyhow!("--case-weights {}: {e}; expected {{\"case\": weight, …}}", path.display());
            imaging::io::read_json(path).map_err(|e| wrong(&e))?
        }
    };
    Ok(Sampling {
        foreground_share: args.foreground_share,
        probabilistic: args.oversampling == Oversampling::Random,
        class_balanced: args.class_balanced,
        case_weights,
    })
}

/// The plugin's options: the file, with every `key.path=value` put in. Values are JSON where they parse as such, else text.
pub(super) fn options(file: Option<&Path>, set: &[&str]) -> Result<Value> {
    let mut options = match file {
        None => Value::Object(Map::new()),
        Some(path) => imaging::io::read_json(path).map_err(|e| anyhow!("--options {}: {e}", path.display()))?,
    };
    if !options.is_object() {
        bail!("--options: the file must hold a JSON object, e.g. {{\"outputs\": {{…}}}}");
    }
    for assignment in set {
        assign(&mut options, assignment).map_err(|e| anyhow!("--set {assignment}: {e}"))?;
    }
    Ok(options)
}
