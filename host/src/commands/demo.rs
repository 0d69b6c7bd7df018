//! `host demo`: the main job on data of its own.

use super::{Outcome, run};
use crate::cli::{Cli, Command, DemoArgs};
use crate::console::say;
use crate::environment::Environment;
use crate::predict::{Extras, Prediction, Predictor, Preprocessed, Window};
use crate::report::picture::Layer;
use crate::report::picture::overlay::{self, Row};
use crate::session::{Existing, Session};
use anyhow::Result;
use clap::Parser;
use data::dataset::TargetKind;
use data::demo;
use imaging::io::{read_image, read_labels};
use indexmap::IndexMap;
use std::path::{Path, PathBuf};

const DATASET: &str = "Dataset999_Demo";
/// Options of `multi-output` for the demo's targets.
const OPTIONS: &str = r#"{
    "outputs": {
        "organs": {"target": "segmentation", "weight": 1.0},
        "distance": {"weight": 0.3}
    }
}"#;

/// Writes the data set, trains on it, predicts the unseen case and draws it.
pub fn execute(args: &DemoArgs, env: &Environment) -> Result<Outcome> {
    let raw = args.output.join("raw").join(DATASET);
    let options = args.output.join("options.json");
    demo::write_dataset(&raw, args.seed)?;
    imaging::io::write_atomically(&options, |file| file.write_all(OPTIONS.as_bytes()))?;

    let command = command(args, &raw, &options);
    say!(env, "The same by hand:")?;
    say!(env, "  {}", command.join(" "))?;
    say!(env, "")?;
    let Command::Run(run_args) = Cli::try_parse_from(&command)?.command else {
        unreachable!("the command line above is `run`");
    };
    if run::execute(&run_args, env)? == Outcome::Interrupted {
        return Ok(Outcome::Interrupted);
    }

    let run = run::Run::open(&run_args, env)?;
    let mut session = run.sessions(run_args.fold[0], Existing::Refuse, env)?.remove(0);
    session.load_final()?;
    let picture = args.output.join("unseen.png");
    predict_unseen(&session, &raw, &picture)?;
    say!(env, "")?;
    say!(env, "Prediction (left) and truth (right) of a case that was in no training: {}", picture.display())?;
    Ok(Outcome::Done)
}

/// The command line of `host run` that the demo is.
fn command(args: &DemoArgs, raw: &Path, options: &Path) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let words = ["host", "run", "--plugin", "multi-output", "--configuration", "3d_fullres", "--fold", "0", "--overwrite"];
    let mut command: Vec<String> = words.map(str::to_owned).to_vec();
    let numbers =
        [("--epochs", args.epochs), ("--iterations", args.iterations), ("--val-iterations", 4), ("--batch-size", 2), ("--seed", args.seed)];
    command.extend(numbers.iter().flat_map(|(flag, number)| [(*flag).to_owned(), number.to_string()]));
    let folder = |name| path(&args.output.join(name));
    let paths = [
        ("--dataset", path(raw)),
        ("--options", path(options)),
        ("--preprocessed", folder("preprocessed")),
        ("--output", folder("results")),
    ];
    command.extend(paths.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]));
    command
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
