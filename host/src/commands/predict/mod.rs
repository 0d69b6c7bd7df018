//! `host predict`: images in, predictions out.

mod args;

use super::Outcome;
use super::model::find;
use super::place::precision;
use crate::artifact::{ModelFolder, TrainedModel};
use crate::config::PrecisionName;
use crate::console::say;
use crate::device;
use crate::environment::Environment;
use crate::network::{Engine, Precision, Processor, choose};
use crate::predict::{CaseFiles, Done, Extras, Layout, Predictor, Window, find_cases, gather, predict_files};
use crate::report::Bar;
use anyhow::{Result, anyhow, bail, ensure};
use data::evaluate::folder::BESIDE_PREDICTIONS;
use data::name::Name;
use data::nearest::hint;
use imaging::io::write_json;
use indexmap::IndexMap;
use serde::Serialize;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Instant;

pub use args::{CheckpointName, PredictArgs};
use args::{FOREGROUND, Tta};

/// What computed the predictions of the newest run: a file beside them.
#[derive(Serialize)]
struct Computed {
    engine: Engine,
    precision: Precision,
    device: String,
    threads: i32,
    version: &'static str,
}

/// Predicts all cases, and fails at the end if one could not be.
pub fn execute(args: &PredictArgs, env: &Environment) -> Result<Outcome> {
    let started = Instant::now();
    ensure!(args.step > 0.0 && args.step <= 1.0, "--step is {}; expected more than 0 and at most 1", args.step);
    let (mut models, _unpacked) = find(&args.model, env)?;
    let path = models.pop().ok_or_else(|| anyhow!("{} has no model", args.model.display()))?;
    if !models.is_empty() {
        let names: Vec<String> =
            models.iter().chain([&path]).map(|path| path.file_name().unwrap_or_default().display().to_string()).collect();
        bail!("{} has several models ({}); unpack them with host model import, and name one", args.model.display(), names.join(", "));
    }
    let folder = ModelFolder::open(&path)?;
    let checkpoints = folder.checkpoints(&args.folds, args.checkpoint.name())?;
    let (all_cases, mut bad) = find_cases(&args.input, folder.description.channel_names.len(), &folder.description.file_ending);
    ensure!(!all_cases.is_empty() || !bad.is_empty(), "--input: no file ends in {}", folder.description.file_ending);
    if let Some(threads) = args.threads {
        tch::set_num_threads(threads.into());
    }
    let device = device::select(&args.device)?;
    let asked = (args.precision != PrecisionName::Auto).then(|| precision(args.precision, device));
    let (engine, precision) = choose(args.engine, asked, args.nnunet_exact, device, Processor::this())?;
    let paths: Vec<PathBuf> = checkpoints.iter().map(|(_, path)| path.clone()).collect();
    let model = folder.load(&paths, (args.plugin.as_deref(), &env.plugins), device, precision)?;
    check_names(&model, args.separate_regions)?;
    let largest = largest(args, &model)?;
    let mirror = mirror(args, &model)?;

    let extras = Extras { probabilities: args.save_probabilities, regions: args.separate_regions };
    let (ending, plans) = (&folder.description.file_ending, &folder.plans);
    let layout = Layout { output: &args.output, targets: &model.targets, ending, reader: folder.reader, plans, extras };
    let own = all_cases.iter().skip(args.parts.index).step_by(args.parts.count);
    let wanted: Vec<CaseFiles> = own.filter(|case| !args.go_on || !layout.is_complete(&case.id)).cloned().collect();
    write_description(args, &folder, &layout)?;
    let folds: Vec<String> = checkpoints.iter().map(|(fold, _)| fold.to_string()).collect();
    log::info!("{} cases, folds {}, {} on {}", wanted.len(), folds.join(", "), precision.name(), device::name(device));

    let configuration = &model.configuration;
    let window = Window { step: args.step, half: args.nnunet_exact, ..Window::new(configuration, model.patch, &mirror, &model.targets) };
    let (predictor, engine) = Predictor::new(&model.folds, plans, configuration, &model.targets, window, extras).on(engine)?;
    let computed =
        Computed { engine, precision, device: device::name(device), threads: tch::get_num_threads(), version: env!("CARGO_PKG_VERSION") };
    write_json(&args.output.join(args.parts.record()), &computed)?;
    let bar = Bar::new("predicting", wanted.len() as u64);
    let Done { bad: unpredicted, run } = predict_files(&predictor, configuration, &wanted, &layout, &largest, &env.stop, || bar.step())?;
    drop(bar);
    if run.stopped {
        return Ok(Outcome::Interrupted);
    }
    let (done, all) = (wanted.len() - unpredicted.len(), wanted.len() + bad.len());
    bad.extend(unpredicted);
    // What lies there of a case that could not be predicted is an earlier run's.
    let failed: HashSet<&str> = bad.iter().map(|bad| bad.case.as_str()).collect();
    let predicted: Vec<&CaseFiles> = all_cases.iter().filter(|case| !failed.contains(case.id.as_str())).collect();
    gather(&predicted, &layout, args.preview.as_deref(), args.parts.count > 1)?;
    let (output, seconds) = (args.output.display(), started.elapsed().as_secs_f64());
    say!(env, "{output}: {done} cases in {seconds:.1} s, {:.0} % of it in the network", 100.0 * run.network.as_secs_f64() / seconds)?;
    if bad.is_empty() {
        return Ok(Outcome::Done);
    }
    bad.iter().for_each(|bad| log::warn!("{bad}"));
    bail!("{} of {all} cases could not be predicted; the others are in {output}", bad.len());
}

/// Names become folders, and come with the model: none may lead out of the output's, nor be that of another file or folder there.
fn check_names(model: &TrainedModel, regions_too: bool) -> Result<()> {
    let labels = model.targets.values().filter_map(|kind| kind.labels()).filter(|labels| regions_too && labels.has_regions());
    let regions: Vec<String> = labels.flat_map(|labels| labels.foreground()).map(|(name, _)| name).collect();
    for name in model.targets.keys().chain(&regions) {
        Name::new(name).map_err(|error| anyhow!("the model has an output or a region named {error}; rename it in dataset.json"))?;
        let is_taken = BESIDE_PREDICTIONS.contains(&name.as_str());
        ensure!(
            !is_taken,
            "the model has an output or a region named {name:?}, which is a file among predictions; rename it in dataset.json"
        );
    }
    match model.targets.keys().find(|output| regions.contains(output)) {
        Some(both) => bail!("the model has an output and a region named {both:?}; rename one of them"),
        None => Ok(()),
    }
}

fn mirror(args: &PredictArgs, model: &TrainedModel) -> Result<Vec<usize>> {
    let dims = model.configuration.dims();
    match &args.tta {
        Tta::On => Ok(model.mirror.clone()),
        Tta::Off => Ok(Vec::new()),
        Tta::Axes(axes) => {
            if let Some(wrong) = axes.iter().find(|axis| **axis >= dims) {
                bail!("--tta: the model has {dims} axes, counted from 0; {wrong} is none of them");
            }
            let untrained = axes.iter().any(|axis| !model.mirror.contains(axis));
            if untrained {
                log::warn!("--tta {axes:?}: the model was trained with mirror images along {:?} only", model.mirror);
            }
            Ok(axes.clone())
        }
    }
}

/// The labels of which one connected component is kept, by output.
fn largest(args: &PredictArgs, model: &TrainedModel) -> Result<IndexMap<String, Vec<Vec<i16>>>> {
    let mut groups: IndexMap<String, Vec<Vec<i16>>> = IndexMap::new();
    let mut known: Vec<String> = vec![FOREGROUND.to_owned()];
    for (output, kind) in &model.targets {
        let Some(labels) = kind.labels() else { continue };
        for (name, values) in labels.foreground() {
            let values = values.into_iter().map(|value| labels.predicted(value)).collect();
            if args.largest_component.contains(&name) {
                groups.entry(output.clone()).or_default().push(values);
            }
            known.push(name);
        }
        if args.largest_component.iter().any(|name| name == FOREGROUND) {
            let values = labels.values().into_iter().filter(|value| *value != 0).map(|value| labels.predicted(value)).collect();
            groups.entry(output.clone()).or_default().push(values);
        }
    }
    match args.largest_component.iter().find(|name| !known.contains(name)) {
        Some(unknown) => bail!("--largest-component: no label {unknown:?}; {}", hint(unknown, known.iter().map(String::as_str))),
        None => Ok(groups),
    }
}

/// What `host evaluate` needs to know of the predictions, and who looks at them later.
fn write_description(args: &PredictArgs, folder: &ModelFolder, layout: &Layout) -> Result<()> {
    let failed = |path: PathBuf| move |e: std::io::Error| anyhow!("cannot write to {}: {e}", path.display());
    for output in layout.targets.keys() {
        let path = layout.folder(output);
        std::fs::create_dir_all(&path).map_err(failed(path.clone()))?;
        imaging::io::remove_leftovers(&path, imaging::io::ABANDONED);
    }
    write_json(&args.output.join("dataset.json"), &folder.description.shareable())?;
    write_json(&args.output.join("plans.json"), &folder.plans)?;
    Ok(())
}
