//! `host fingerprint`, `host plan`, `host preprocess` and `host plan-and-preprocess`: the steps before training, one by one.

mod args;

use super::Outcome;
use super::place::{CaseThreads, Place};
use crate::console::say;
use crate::environment::Environment;
use crate::network::planned;
use anyhow::{Result, bail, ensure};
use data::fingerprint::Fingerprint;
use data::name::Name;
use data::numpy::median;
use data::plan::{Configuration, PlanOptions, Plans};
use data::preprocess::{Prepared, Unused};
use std::path::Path;

use args::PlannerArgs;
pub use args::{FingerprintArgs, PlanAndPreprocessArgs, PlanArgs, PreprocessArgs};

/// Extracts the fingerprint.
pub fn fingerprint(args: &FingerprintArgs, env: &Environment) -> Result<Outcome> {
    let place = Place::open(&args.data.0)?;
    let (fingerprint, folder) =
        place.prepare(&args.threads, |preparation| Ok((preparation.fingerprint(args.overwrite)?, preparation.folder().to_owned())))?;
    show_fingerprint(&fingerprint, &folder, env)?;
    Ok(Outcome::Done)
}

/// Plans.
pub fn plan(args: &PlanArgs, env: &Environment) -> Result<Outcome> {
    let place = Place::open(&args.data.0)?;
    let options = options(&args.planner)?;
    let (plans, folder) =
        place.prepare(&args.threads, |preparation| Ok((preparation.plan(&options, args.overwrite)?, preparation.folder().to_owned())))?;
    show_plans(&plans, &folder, env)?;
    Ok(Outcome::Done)
}

/// Preprocesses.
pub fn preprocess(args: &PreprocessArgs, env: &Environment) -> Result<Outcome> {
    let place = Place::open(&args.data.0)?;
    if args.clean {
        return clean(&place, &args.threads, env);
    }
    let prepared = place.prepare(&args.threads, |preparation| {
        let plans = preparation.plans(&PlanOptions::named(&args.plans))?;
        Ok(preparation.preprocess(&plans, &chosen(&plans, &args.configuration)?, args.overwrite)?)
    })?;
    show_prepared(&prepared, place.dataset.cases.len(), env)?;
    Ok(Outcome::Done)
}

/// Plans and preprocesses.
pub fn plan_and_preprocess(args: &PlanAndPreprocessArgs, env: &Environment) -> Result<Outcome> {
    let place = Place::open(&args.plan.data.0)?;
    let options = options(&args.plan.planner)?;
    let (plans, folder, prepared) = place.prepare(&args.plan.threads, |preparation| {
        let plans = preparation.plan(&options, args.plan.overwrite)?;
        let prepared = preparation.preprocess(&plans, &chosen(&plans, &args.configuration)?, args.plan.overwrite)?;
        Ok((plans, preparation.folder().to_owned(), prepared))
    })?;
    show_plans(&plans, &folder, env)?;
    show_prepared(&prepared, place.dataset.cases.len(), env)?;
    Ok(Outcome::Done)
}

/// Lists and removes stores that nothing needs any more.
fn clean(place: &Place, threads: &CaseThreads, env: &Environment) -> Result<Outcome> {
    let unused = place.prepare(threads, |preparation| Ok(preparation.clean()?))?;
    for Unused { folder, cases, bytes, left } in &unused {
        let (what, megabytes) = (left.as_ref().map_or_else(|| "removed".to_owned(), |why| format!("left, {why}")), *bytes as f64 / 1e6);
        say!(env, "{}: {cases} cases, {megabytes:.1} MB: {what}", folder.display())?;
    }
    if unused.is_empty() {
        say!(env, "Every store belongs to a configuration of the plans; nothing is removed")?;
    }
    Ok(Outcome::Done)
}

fn options(args: &PlannerArgs) -> Result<PlanOptions> {
    let spacing = match args.spacing[..] {
        [] => None,
        [z, y, x] => Some([z, y, x]),
        _ => bail!("--spacing has {} numbers; expected three: z, y, x", args.spacing.len()),
    };
    Ok(PlanOptions { planner: args.planner, memory_gb: args.gpu_memory, plans_name: args.plans.clone(), spacing })
}

/// The configurations that were named, else all that can be preprocessed, of which there must be one.
fn chosen(plans: &Plans, named: &[String]) -> Result<Vec<String>> {
    if !named.is_empty() {
        named.iter().try_for_each(|name| planned(plans, name).map(|_| ()))?;
        return Ok(named.to_vec());
    }
    let usable = |name: &&Name| planned(plans, name).inspect_err(|error| log::warn!("left out: {error}")).is_ok();
    let chosen: Vec<String> = plans.configurations.keys().filter(usable).map(ToString::to_string).collect();
    ensure!(!chosen.is_empty(), "plans {:?} have no configuration that can be preprocessed", plans.plans_name);
    Ok(chosen)
}

fn show_fingerprint(fingerprint: &Fingerprint, folder: &Path, env: &Environment) -> Result<()> {
    let shapes: Vec<[f64; 3]> = fingerprint.shapes_after_crop.iter().map(|shape| shape.map(|size| size as f64)).collect();
    let medians = |rows: &[[f64; 3]]| [0, 1, 2].map(|axis| median(&rows.iter().map(|row| row[axis]).collect::<Vec<_>>()));
    say!(env, "{}", folder.join("dataset_fingerprint.json").display())?;
    say!(
        env,
        "  {} cases, median shape {}, median spacing {} mm",
        shapes.len(),
        join(medians(&shapes)),
        join(medians(&fingerprint.spacings))
    )?;
    for (channel, found) in &fingerprint.foreground_intensity_properties_per_channel {
        say!(
            env,
            "  channel {channel}: foreground {:.4} ± {:.4}, 0.5 % to 99.5 %: {:.4} to {:.4}",
            found.mean,
            found.std,
            found.percentile_00_5,
            found.percentile_99_5
        )?;
    }
    Ok(())
}

fn show_plans(plans: &Plans, folder: &Path, env: &Environment) -> Result<()> {
    say!(env, "{}", folder.join(format!("{}.json", plans.plans_name)).display())?;
    say!(env, "  {:<20} {:<24} {:<14} {:>5}  stages", "configuration", "spacing (mm)", "patch", "batch")?;
    for name in plans.configurations.keys() {
        // Why one of somebody's own cannot be read is said where it is left out.
        let Ok((configuration, trunk)) = planned(plans, name) else { continue };
        let Configuration { spacing, patch_size, batch_size, .. } = configuration;
        let (spacing, patch) = (join(spacing), join(patch_size.into_iter().map(|size| size as f64)));
        say!(env, "  {name:<20} {spacing:<24} {patch:<14} {batch_size:>5}  {}", trunk.strides().len())?;
    }
    Ok(())
}

fn show_prepared(prepared: &[Prepared], cases: usize, env: &Environment) -> Result<()> {
    for Prepared { name, store, .. } in prepared {
        say!(env, "{name}: {cases} cases in {}", store.folder().display())?;
    }
    Ok(())
}

fn join(numbers: impl IntoIterator<Item = f64>) -> String {
    numbers.into_iter().map(|number| ((number * 1e4).round() / 1e4).to_string()).collect::<Vec<_>>().join("×")
}
