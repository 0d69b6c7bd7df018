//! `host run`: plans, preprocesses, trains and validates.

mod args;
mod arms;
mod request;

use super::Outcome;
use super::place::{CaseThreads, Place, results};
use super::runs::compare_cases;
use crate::config::{Config, schema};
use crate::console::say;
use crate::environment::Environment;
use crate::network;
use crate::plugin::{self, Plugin};
use crate::session::{self, Existing, Session, Settings, Setup};
use crate::train::End;
use anyhow::{Result, anyhow};
use data::dataset::Dataset;
use data::dataset::splits::Fold;
use data::plan::PlanOptions;
use data::preprocess::Prepared;
use gate::search::resolve;
use std::collections::BTreeMap;

pub(super) use args::ExistingArgs;
pub use args::RunArgs;
use request::Arm;
pub(super) use request::{Request, of_environment, options, setting};

/// Runs what the command line asks for, or prints what it may ask for.
pub fn execute(args: &RunArgs, env: &Environment) -> Result<Outcome> {
    if args.schema {
        env.output.json(schema())?;
        return Ok(Outcome::Done);
    }
    run(&Request::of(args)?, env)
}

/// Runs every fold of every run.
pub(super) fn run(request: &Request, env: &Environment) -> Result<Outcome> {
    let run = Run::open(request, env)?;
    let Config { training, validation, .. } = &run.config;
    env.stop.listen().map_err(|e| anyhow!("cannot listen for Ctrl-C: {e}"))?;
    let args = &request.existing;
    let validates = args.validate_only || !validation.no_validation;
    let existing = match (args.resume || args.resume_anyway, args.overwrite) {
        (true, _) => Existing::Resume { anyway: args.resume_anyway },
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    // What can be refused is refused before the first of several folds is trained for hours.
    for fold in training.fold.iter().filter(|_| !args.validate_only) {
        let sessions = run.sessions(*fold, existing, env)?;
        run.setups.iter().zip(&sessions).try_for_each(|(setup, session)| of_arm(&setup.name, session.check_existing(existing)))?;
    }
    if !args.validate_only {
        let plugins = run.setups.iter().map(|setup| setup.plugin.identity());
        let plugins: BTreeMap<&str, _> = plugins.map(|plugin| (plugin.sha256.as_str(), plugin)).collect();
        plugins.into_values().for_each(plugin::remember);
    }
    for fold in &training.fold {
        let mut sessions = run.sessions(*fold, existing, env)?;
        if !args.validate_only && session::train(&mut sessions, existing, &env.stop)? == End::Interrupted {
            return Ok(Outcome::Interrupted);
        }
        for session in sessions.iter_mut().filter(|_| validates) {
            if session.validate(validation.val_cases, &env.stop)? == End::Interrupted {
                return Ok(Outcome::Interrupted);
            }
        }
    }
    match run.setups.len() {
        1 => {}
        _ if !validates => say!(env, "The arms are not compared, since they were not validated (--validate-only does both)")?,
        _ => run.compare(env)?,
    }
    Ok(Outcome::Done)
}

/// A run, or several that are compared, opened: plugins are loaded, the data is prepared.
pub(super) struct Run {
    pub dataset: Dataset,
    pub prepared: Prepared,
    /// What all of them share.
    pub config: Config,
    setups: Vec<Setup>,
}

impl Run {
    /// Loads the plugins and prepares the data; nothing is written to the results yet.
    pub fn open(request: &Request, env: &Environment) -> Result<Self> {
        let mut loaded = Vec::new();
        for (name, arm) in &request.arms {
            let load = |arm: &Arm| {
                let plugin = plugin::load(&resolve(&arm.plugin, &env.plugins)?, &env.plugins)?;
                anyhow::Ok((arm.settings(&plugin)?, plugin))
            };
            let (settings, plugin) = of_arm(name, load(arm))?;
            loaded.push((name, plugin, settings));
        }
        let config = request.config()?;
        let Config { planned, machine, results: asked, .. } = &config;
        if let Some(threads) = machine.threads {
            tch::set_num_threads(threads.into());
        }
        let place = Place::open(&config.data)?;
        say!(
            env,
            "Data set {} with {} cases; preprocessed in {}",
            place.dataset.folder.display(),
            place.dataset.cases.len(),
            place.preprocessed.display()
        )?;
        let mut prepared = place.prepare(&CaseThreads::default(), |preparation| {
            let plans = preparation.plans(&PlanOptions::named(&planned.plans))?;
            let (configuration, _) = network::planned(&plans, &planned.configuration)?;
            for (name, plugin, settings) in &loaded {
                of_arm(name, session::check(&place.dataset, plugin, settings, &planned.configuration, &configuration))?;
            }
            Ok(preparation.preprocess(&plans, &[&planned.configuration], false)?)
        })?;
        let prepared = prepared.pop().expect("one for every configuration");
        let (dataset, results) = (place.dataset, results(asked.output.as_deref()));
        let repeat = request.repeat(&dataset.folder, &place.preprocessed, &results);
        let setup = |(name, plugin, settings): (&String, Plugin, Settings)| {
            let names = [asked.name.as_deref(), Some(name.as_str()).filter(|name| !name.is_empty())];
            let words: Vec<&str> = [plugin.identity().manifest.id.as_str()].into_iter().chain(names.into_iter().flatten()).collect();
            let folder = format!("{}__{}__{}", words.join("-"), planned.plans, planned.configuration);
            let folder = results.join(&*dataset.name).join(folder);
            Setup { name: name.clone(), plugin, settings: Settings { repeat: repeat.clone(), ..settings }, folder }
        };
        let setups = loaded.into_iter().map(setup).collect();
        Ok(Self { dataset, prepared, config, setups })
    }

    /// One fold of every run.
    pub fn sessions<'a>(&'a self, fold: Fold, existing: Existing, env: &'a Environment) -> Result<Vec<Session<'a>>> {
        let streams = session::streams(&self.setups, fold, existing)?;
        let session = |setup| Session::new(&self.dataset, &self.prepared, setup, fold, streams, env);
        self.setups.iter().map(|setup| of_arm(&setup.name, session(setup))).collect()
    }

    /// The report on several runs, beside them.
    fn compare(&self, env: &Environment) -> Result<()> {
        let Config { planned, training, results, .. } = &self.config;
        let folds = |setup: &Setup| training.fold.iter().map(|fold| setup.folder.join(format!("fold_{fold}"))).collect();
        let runs: Vec<_> = self.setups.iter().map(|setup| (setup.name.clone(), folds(setup))).collect();
        let names = results.name.iter().map(AsRef::as_ref).chain(self.setups.iter().map(|setup| setup.name.as_str()));
        let words: Vec<&str> = ["comparison"].into_iter().chain(names).collect();
        let report = format!("{}__{}__{}", words.join("-"), planned.plans, planned.configuration);
        compare_cases(&runs, &self.setups[0].folder.with_file_name(report), env)
    }
}

/// `result`, whose error says which arm it is about where there are several.
fn of_arm<T>(name: &str, result: Result<T, impl Into<anyhow::Error>>) -> Result<T> {
    let is_named = |error: &anyhow::Error| name.is_empty() || error.to_string().starts_with(&format!("arm {name}: "));
    let named = |error: anyhow::Error| if is_named(&error) { error } else { anyhow!("arm {name}: {error}") };
    result.map_err(|error| named(error.into()))
}
