//! `host demo`: the main job on data of its own.

use super::run::ExistingArgs;
use super::run::{Request, of_environment, setting};
use super::{Outcome, run};
use crate::config::{self, Layers, words};
use crate::console::say;
use crate::environment::Environment;
use crate::predict::{Extras, Prediction, Predictor, Preprocessed, Window};
use crate::report::picture::Layer;
use crate::report::picture::overlay::{self, Row};
use crate::session::{Existing, Session};
use anyhow::{Result, anyhow};
use clap::Args;
use data::dataset::TargetKind;
use data::demo;
use imaging::io::{read_image, read_labels};
use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const DATASET: &str = "Dataset999_Demo";
/// Options of `multi-output` for the demo's targets.
const OPTIONS: &str = r#"{
    "outputs": {
        "organs": {"target": "segmentation", "weight": 1.0},
        "distance": {"weight": 0.3}
    }
}"#;

/// Arguments of `host demo`.
#[derive(Args, Debug)]
pub struct DemoArgs {
    /// Where the data set and the results go
    #[arg(long, default_value = "demo", value_name = "DIR")]
    pub output: PathBuf,

    /// Seed of data and training
    #[arg(long, default_value_t = 0)]
    pub seed: u64,

    /// Number of epochs
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub epochs: u64,

    /// Training iterations an epoch
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    pub iterations: u64,
}

/// Writes the data set, trains on it, predicts the unseen case and draws it.
pub fn execute(args: &DemoArgs, env: &Environment) -> Result<Outcome> {
    let raw = args.output.join("raw").join(DATASET);
    let options = args.output.join("options.json");
    demo::write_dataset(&raw, args.seed)?;
    imaging::io::write_atomically(&options, |file| file.write_all(OPTIONS.as_bytes()))?;

    let settings = settings(args, &raw)?;
    say!(env, "The same by hand:")?;
    say!(env, "  host run {} --options {} --overwrite", words(&settings).join(" "), options.display())?;
    say!(env, "")?;
    let mut layers = Layers::default();
    layers.add(of_environment(false)?);
    layers.add(config::Layer::new("demo", settings)?);
    layers.add(config::Layer::new("options of the demo", setting("options", serde_json::from_str(OPTIONS)?))?);
    let request = Request::new(layers, ExistingArgs { overwrite: true, ..ExistingArgs::default() })?;
    if run::run(&request, env)? == Outcome::Interrupted {
        return Ok(Outcome::Interrupted);
    }

    let run = run::Run::open(&request, env)?;
    let mut session = run.sessions(run.config.training.fold[0], Existing::Refuse, env)?.remove(0);
    session.load_final()?;
    let picture = args.output.join("unseen.png");
    predict_unseen(&session, &raw, &picture)?;
    say!(env, "")?;
    say!(env, "Prediction (left) and truth (right) of a case that was in no training: {}", picture.display())?;
    Ok(Outcome::Done)
}

/// What the demo asks of `host run`, beside the plugin's options.
fn settings(args: &DemoArgs, raw: &Path) -> Result<Map<String, Value>> {
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| anyhow!("--output {}: is not UTF-8", path.display()));
    let settings = json!({
        "plugin": "multi-output",
        "epochs": args.epochs,
        "iterations": args.iterations,
        "val_iterations": 4,
        "batch_size": 2,
        "seed": args.seed,
        "dataset": text(raw)?,
        "preprocessed": text(&args.output.join("preprocessed"))?,
        "output": text(&args.output.join("results"))?,
    });
    Ok(settings.as_object().cloned().expect("an object"))
}

fn predict_unseen(session: &Session, raw: &Path, picture: &Path) -> Result<()> {
    let unseen = demo::unseen_case();
    let image_path: PathBuf = raw.join(format!("imagesTs/{unseen}_0000.nii.gz"));
    let (plans, configuration) = (&session.prepared.plans, &session.prepared.configuration);
    let targets: IndexMap<String, TargetKind> = session.targets();
    let window = Window::new(configuration, session.patch, &session.mirror, &targets);
    let models = std::slice::from_ref(&session.model);
    let predictor = Predictor::new(models, plans, configuration, &targets, window, Extras::default());
    let raw_image = read_image(&image_path)?;
    let exported = predictor.predict(&Preprocessed::from_image(raw_image.clone(), &image_path, plans, configuration)?)?;

    let organs = read_labels(&raw.join(format!("labelsTs/{unseen}.nii.gz")))?.volume;
    let distance = read_image(&raw.join(format!("targetsTs/distance/{unseen}.nii.gz")))?.volume;
    let rows: Vec<Row> = exported
        .values()
        .filter_map(|exported| match &exported.prediction {
            Prediction::Labels(labels) => Some(Row { prediction: Layer::Labels(labels), reference: Some(Layer::Labels(&organs)) }),
            Prediction::Regression(values) => Some(Row { prediction: Layer::Values(values), reference: Some(Layer::Values(&distance)) }),
            Prediction::Class(_) => None,
        })
        .collect();
    Ok(overlay::write(picture, &raw_image.volume, raw_image.geometry.spacing(), overlay::best_planes(&organs), &rows)?)
}
