//! `host completions`.

use super::{Cli, Outcome};
use crate::environment::Environment;
use anyhow::Result;
use clap::{Args, CommandFactory};

/// Arguments of `host completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints them.
pub fn execute(args: &CompletionsArgs, env: &Environment) -> Result<Outcome> {
    // Into memory, where writing cannot fail: clap panics where it does.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "host", &mut script);
    env.output.text(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
