//! The subcommands of the program, one file each; `place` is what several of them need to find data sets and results.

mod augmentation;
mod dataset;
mod demo;
mod evaluate;
mod model;
mod place;
mod plugin;
mod predict;
mod prepare;
mod request;
mod run;
mod runs;
mod trust;

use crate::cli::{Cli, Command};
use crate::environment::Environment;
use anyhow::Result;
use clap::CommandFactory;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// Stopped by Ctrl-C after saving.
    Interrupted,
}

/// Does what the command line says.
pub fn execute(cli: Cli, env: &Environment) -> Result<Outcome> {
    match cli.command {
        Command::Run(args) => run::execute(&args, env),
        Command::Fingerprint(args) => prepare::fingerprint(&args, env),
        Command::Plan(args) => prepare::plan(&args, env),
        Command::Preprocess(args) => prepare::preprocess(&args, env),
        Command::PlanAndPreprocess(args) => prepare::plan_and_preprocess(&args, env),
        Command::Demo(args) => demo::execute(&args, env),
        Command::Dataset(command) => dataset::execute(&command, env),
        Command::Augmentation(command) => augmentation::execute(&command, env),
        Command::Predict(args) => predict::execute(&args, env),
        Command::Model(command) => model::execute(&command, env),
        Command::Evaluate(args) => evaluate::execute(&args, env),
        Command::Runs(command) => runs::execute(&command, env).map(|()| Outcome::Done),
        Command::Plugin(command) => plugin::execute(&command, env).map(|()| Outcome::Done),
        Command::Completions { shell } => {
            // Into memory, where writing cannot fail: clap panics where it does.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "host", &mut script);
            env.output.text(&String::from_utf8_lossy(&script))?;
            Ok(Outcome::Done)
        }
    }
}
