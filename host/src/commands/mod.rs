//! The subcommands of the program, one file each.

mod augmentation;
mod dataset;
mod demo;
mod environment;
mod evaluate;
mod model;
mod plugin;
mod predict;
mod prepare;
mod run;
mod runs;
mod trust;

use crate::cli::{Cli, Command};
use anyhow::Result;
use clap::CommandFactory;
use std::io::{Write, stdout};

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// Stopped by Ctrl-C after saving.
    Interrupted,
}

/// Does what the command line says.
pub fn execute(cli: Cli) -> Result<Outcome> {
    match cli.command {
        Command::Run(args) => run::execute(&args),
        Command::Fingerprint(args) => prepare::fingerprint(&args),
        Command::Plan(args) => prepare::plan(&args),
        Command::Preprocess(args) => prepare::preprocess(&args),
        Command::PlanAndPreprocess(args) => prepare::plan_and_preprocess(&args),
        Command::Demo(args) => demo::execute(&args),
        Command::Dataset(command) => dataset::execute(&command),
        Command::Augmentation(command) => augmentation::execute(&command),
        Command::Predict(args) => predict::execute(&args),
        Command::Model(command) => model::execute(&command),
        Command::Evaluate(args) => evaluate::execute(&args),
        Command::Runs(command) => runs::execute(&command).map(|()| Outcome::Done),
        Command::Plugin(command) => plugin::execute(&command).map(|()| Outcome::Done),
        Command::Completions { shell } => {
            // Into memory, where writing cannot fail: clap panics where it does.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "host", &mut script);
            stdout().write_all(&script)?;
            Ok(Outcome::Done)
        }
    }
}
