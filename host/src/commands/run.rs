//! `host run`: plans, preprocesses, trains and validates.

use super::Outcome;
use super::environment::{Place, cores, results};
use crate::assign::assign;
use crate::cli::{CaseThreads, Oversampling, PrecisionName, RunArgs, SamplingArgs};
use crate::dataset::Dataset;
use crate::device;
use crate::loading::Sampling;
use crate::network::Precision;
use crate::plan::PlanOptions;
use crate::plugin::{self, Library};
use crate::preprocess::Prepared;
use crate::session::{self, Existing, Session, Settings};
use crate::train::{End, Keeping, Watchdogs};
use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Set by the first Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

/// Runs every fold.
pub fn execute(args: &RunArgs) -> Result<Outcome> {
    let run = Run::open(args)?;
    listen_for_interrupt()?;
    let existing = match (args.resume || args.resume_anyway, args.overwrite) {
        (true, _) => Existing::Resume { anyway: args.resume_anyway },
        (_, true) => Existing::Overwrite,
        _ => Existing::Refuse,
    };
    // What can be refused is refused before the first of several folds is trained for hours.
    for fold in args.fold.iter().filter(|_| !args.validate_only) {
        run.session(*fold)?.check_existing(existing)?;
    }
    for fold in &args.fold {
        let mut session = run.session(*fold)?;
        if !args.validate_only && session.train(existing, &STOP)? == End::Interrupted {
            return Ok(Outcome::Interrupted);
        }
        if session.validate(&STOP)? == End::Interrupted {
            return Ok(Outcome::Interrupted);
        }
    }
    Ok(Outcome::Done)
}

/// A run, opened: the plugin is loaded, the data is prepared.
pub(super) struct Run {
    pub dataset: Dataset,
    pub prepared: Prepared,
    library: Library,
    settings: Settings,
    model_folder: PathBuf,
}

impl Run {
    /// Loads the plugin and prepares the data; nothing is written to the results yet.
    pub fn open(args: &RunArgs) -> Result<Self> {
        let path = plugin::resolve(&args.plugin)?;
        let settings = settings(args)?;
        let library = Library::load(&path)?;
        if let Some(threads) = args.threads {
            tch::set_num_threads(threads.into());
        }
        let place = Place::open(&args.data)?;
        println!(
            "Data set {} with {} cases; preprocessed in {}",
            place.dataset.folder.display(),
            place.dataset.cases.len(),
            place.preprocessed.display()
        );
        let mut prepared = place.prepare(&CaseThreads::default(), |preparation| {
            let plans = preparation.plans(&PlanOptions::named(&args.plans))?;
            let configuration = plans.configuration(&args.configuration)?;
            session::check(&place.dataset, &library, &settings, &args.configuration, &configuration)?;
            Ok(preparation.preprocess(&plans, &[&args.configuration], false)?)
        })?;
        let prepared = prepared.pop().expect("one for every configuration");
        let dataset = place.dataset;
        let mut name = library.manifest.id.clone();
        if let Some(extra) = &args.name {
            name = format!("{name}-{extra}");
        }
        let model_folder =
            results(args.output.as_deref()).join(&dataset.name).join(format!("{name}__{}__{}", args.plans, args.configuration));
        Ok(Self { dataset, prepared, library, settings, model_folder })
    }

    /// One fold.
    pub fn session(&self, fold: crate::dataset::splits::Fold) -> Result<Session<'_>> {
        Session::new(&self.dataset, &self.prepared, &self.library, &self.settings, fold, &self.model_folder)
    }
}

fn settings(args: &RunArgs) -> Result<Settings> {
    let workers = match (args.workers, std::env::var("nnUNet_n_proc_DA").ok()) {
        (Some(workers), _) => usize::from(workers),
        // nnU-Net's 0 means: no workers beside the main process. Here one thread is the least.
        (None, Some(text)) => text.parse::<usize>().map_err(|_| anyhow!("nnUNet_n_proc_DA is '{text}'; expected a number"))?.max(1),
        (None, None) => (cores() / 4).clamp(1, 12),
    };
    let device = device::select(&args.device)?;
    let training = &args.training;
    Ok(Settings {
        options: options(args.options.as_deref(), &args.set)?,
        epochs: args.epochs,
        iterations: args.iterations,
        validation_iterations: args.val_iterations,
        batch_size: args.batch_size.map(|size| size as usize),
        patch_size: args.patch_size.clone(),
        seed: args.seed,
        precision: match args.precision {
            PrecisionName::Auto => Precision::for_device(device),
            PrecisionName::Fp32 => Precision::Fp32,
            PrecisionName::Bf16 => Precision::Bf16,
            PrecisionName::Fp16 => Precision::Fp16,
        },
        recipe: args.recipe.clone(),
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
            let text = std::fs::read_to_string(path).map_err(|e| wrong(&e))?;
            serde_json::from_str(&text).map_err(|e| wrong(&e))?
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
fn options(file: Option<&Path>, set: &[String]) -> Result<Value> {
    let mut options = match file {
        None => Value::Object(Map::new()),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| anyhow!("--options {}: {e}", path.display()))?;
            serde_json::from_str(&text).map_err(|e| anyhow!("--options {}: {e}", path.display()))?
        }
    };
    if !options.is_object() {
        bail!("--options: the file must hold a JSON object, e.g. {{\"outputs\": {{…}}}}");
    }
    for assignment in set {
        assign(&mut options, assignment).map_err(|e| anyhow!("--set {assignment}: {e}"))?;
    }
    Ok(options)
}

/// The first Ctrl-C lets the current iteration end and saves; the second one ends the program.
fn listen_for_interrupt() -> Result<()> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("stopping after this iteration; again to stop at once");
    })
    .map_err(|e| anyhow!("cannot listen for Ctrl-C: {e}"))
}
