//! `host augmentation show | preview`: how training patches are varied, in numbers and in pictures.

use super::Outcome;
use super::place::CaseThreads;
use super::place::Place;
use crate::config::{Arguments, Augmenting, Data, Foreground, PlanChoice};
use crate::console::say;
use crate::environment::Environment;
use crate::kinds::Drawn;
use crate::loading::{Batch, LoaderOptions, Phase, Sampling, Share, Source, preview};
use crate::network::planned;
use crate::report::picture::Layer;
use crate::report::picture::contact_sheet::{self, Line};
use crate::report::picture::overlay::best_planes;
use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use data::dataset::Dataset;
use data::plan::{PlanOptions, three_dimensional};
use data::preprocess::Prepared;
use imaging::Volume;
use std::path::PathBuf;

/// `host augmentation …`.
#[derive(Debug, Subcommand)]
pub enum AugmentationCommand {
    /// Print an augmentation with all its parameters, as the JSON that `--augmentation FILE` takes
    Show {
        #[command(flatten)]
        #[allow(missing_docs)]
        augmentation: Arguments<Augmenting>,
        /// Patch that it is for: ranges follow from its shape
        #[arg(long, value_delimiter = ',', value_name = "[Z,]Y,X", default_value = "128,128,128")]
        patch_size: Vec<usize>,
    },
    /// Draw patches of a preprocessed case before and after augmentation: image, every target, and both together
    Preview(PreviewArgs),
}

/// Arguments of `host augmentation preview`.
#[derive(Args, Debug)]
pub struct PreviewArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub data: Arguments<Data>,

    /// Id of the case; default: the first
    #[arg(long, value_name = "ID")]
    pub case: Option<String>,

    /// Number of patches
    #[arg(short = 'n', long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub number: u16,

    /// The picture
    #[arg(long, default_value = "augmentation.png", value_name = "OUT")]
    pub png: PathBuf,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub planned: Arguments<PlanChoice>,

    /// Patch in voxels; default: as planned
    #[arg(long, value_delimiter = ',', value_name = "[Z,]Y,X")]
    pub patch_size: Vec<usize>,

    /// Decides which patches and how they are varied
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub augmentation: Arguments<Augmenting>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub foreground: Arguments<Foreground>,
}

/// Prints a pipeline, or draws what it does.
pub fn execute(command: &AugmentationCommand, env: &Environment) -> Result<Outcome> {
    match command {
        AugmentationCommand::Show { augmentation, patch_size } => show(&augmentation.0, patch_size, env)?,
        AugmentationCommand::Preview(args) => draw(args, env)?,
    }
    Ok(Outcome::Done)
}

fn show(augmenting: &Augmenting, patch_size: &[usize], env: &Environment) -> Result<()> {
    let Some(patch) = three_dimensional(patch_size).filter(|patch| !patch.contains(&0)) else {
        bail!("--patch-size {patch_size:?}: expected two or three sizes above 0");
    };
    let pipeline = augmenting.resolve(None, patch, patch_size.len())?;
    env.output.json(&pipeline)?;
    Ok(())
}

fn draw(args: &PreviewArgs, env: &Environment) -> Result<()> {
    let place = Place::open(&args.data.0)?;
    let case = case(&place.dataset, args.case.as_deref())?;
    let mut prepared = place.prepare(&CaseThreads::default(), |preparation| {
        let plans = preparation.plans(&PlanOptions::named(&args.planned.0.plans))?;
        planned(&plans, &args.planned.0.configuration)?;
        Ok(preparation.preprocess(&plans, &[&args.planned.0.configuration], false)?)
    })?;
    let prepared = prepared.pop().expect("one for every configuration");
    let (source, options) = source_and_options(args, &place.dataset, &prepared, case)?;
    let [before, after] = preview(&source, &options)?;
    let names: Vec<&str> = drawn_targets(&before).collect();
    let shown: Vec<Shown> =
        (0..options.batch_size).flat_map(|sample| [Shown::new(&before, sample, &names), Shown::new(&after, sample, &names)]).collect();
    contact_sheet::write(&args.png, source.spacing, &shown.iter().map(Shown::line).collect::<Vec<_>>())?;
    say!(env, "{}: {} patches of {}, one line before and one after augmentation", args.png.display(), args.number, source.cases[0])?;
    say!(env, "Columns: image{}", names.iter().map(|name| format!(", {name}, {name} over the image")).collect::<String>())?;
    Ok(())
}

fn case(dataset: &Dataset, wanted: Option<&str>) -> Result<String> {
    let ids = dataset.case_ids();
    match wanted {
        None => ids.first().cloned().ok_or_else(|| anyhow!("{}: there are no cases", dataset.folder.display())),
        Some(wanted) if ids.iter().any(|id| id == wanted) => Ok(wanted.to_owned()),
        Some(wanted) => {
            let hint = data::nearest::hint(wanted, ids.iter().map(String::as_str).take(20));
            bail!("--case {wanted}: {} has no such case; {hint}", dataset.folder.display())
        }
    }
}

/// Batches of one case, every patch of which shows foreground if there is any.
fn source_and_options(args: &PreviewArgs, dataset: &Dataset, prepared: &Prepared, case: String) -> Result<(Source, LoaderOptions)> {
    let configuration = &prepared.configuration;
    let size = if args.patch_size.is_empty() { &configuration.patch_size } else { &args.patch_size };
    let patch = three_dimensional(size).filter(|patch| size.len() == configuration.dims() && !patch.contains(&0));
    let Some(patch) = patch else {
        bail!("--patch-size {size:?}: expected {} sizes above 0, as {} has", configuration.dims(), args.planned.0.configuration);
    };
    let options = LoaderOptions {
        seed: args.seed,
        phase: Phase::Train,
        batch_size: args.number.into(),
        patch,
        levels: vec![patch],
        sampling: Sampling { foreground_share: 1.0, ..Sampling::default() },
        foreground: args.foreground.0.foreground.clone(),
        augmentation: args.augmentation.0.resolve(None, patch, configuration.dims())?,
        workers: 1,
        share: Share::default(),
    };
    Ok((Source::of(dataset, prepared, vec![case]), options))
}

/// Names of the targets that have voxels.
fn drawn_targets(batch: &Batch) -> impl Iterator<Item = &str> {
    batch.targets.iter().filter(|(_, target)| target.levels.is_dense()).map(|(name, _)| name.as_str())
}

/// One sample of a batch.
struct Shown {
    image: Volume<f32>,
    targets: Vec<Drawn>,
    slice: usize,
}

impl Shown {
    fn new(batch: &Batch, sample: usize, names: &[&str]) -> Self {
        let targets: Vec<Drawn> = names.iter().filter_map(|name| batch.targets[*name].levels.drawn(sample)).collect();
        let image = &batch.image;
        let slice = targets.iter().find_map(Drawn::labels).map(|labels| best_planes(labels)[0]);
        Self {
            image: Volume::new([image.shape[1], image.shape[2], image.shape[3], image.shape[4]], image.sample(sample).to_vec()),
            targets,
            slice: slice.unwrap_or(image.shape[2] / 2),
        }
    }

    fn line(&self) -> Line<'_> {
        Line { image: &self.image, layers: self.targets.iter().map(Layer::from).collect(), slice: self.slice }
    }
}
