//! The program behind the README's two commands, `cargo demo` and `cargo verify` (aliases in `.cargo/config.toml`).
//!
//! It brings a fresh Debian or Ubuntu machine to the point where plain `cargo build` works, and needs neither libtorch nor
//! any crate for that: [`tools`] looks for Python and a C++ compiler, [`libtorch`] installs libtorch into a cache folder
//! that all clones share ([`check`] looks whether it is whole) and links it into this one, [`workspace`] then runs cargo
//! and the `host` program, [`verify`] the tests.

mod check;
mod error;
mod libtorch;
mod tools;
mod verify;
mod workspace;

use std::process::ExitCode;

use error::Error;
use libtorch::Variant;

const USAGE: &str = "\
Installs libtorch, builds every member, runs the demo or the tests.

Usage: setup <COMMAND>

Commands:
  install [--cuda]   install libtorch and link it to .libtorch; --cuda with the libraries that NVIDIA GPUs need (4.5 GB)
  demo [ARGS…]       install, build, then `host demo ARGS…`
  verify [ARGS…]     install, build, then `cargo test --workspace --no-fail-fast ARGS…`, and a list of what failed or did not run

Environment:
  LIBTORCH           a libtorch of your own; nothing is installed then
  XDG_CACHE_HOME     where the shared copy lies, in trainer-host/ (default ~/.cache)
  PYTHON, CXX        the Python (with pip) and the C++ compiler to use (default python3, c++)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), Error> {
    match words {
        ["install"] => libtorch::install(Some(Variant::Cpu)),
        ["install", "--cuda"] => libtorch::install(Some(Variant::Cuda)),
        ["demo", rest @ ..] => {
            prepare()?;
            match workspace::become_host(&[&["demo"], rest].concat())? {}
        }
        ["verify", rest @ ..] => {
            prepare()?;
            verify::run(rest)
        }
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(Error::Usage(USAGE)),
    }
}

/// Everything up to a `host` program that starts.
fn prepare() -> Result<(), Error> {
    tools::check_compiler()?;
    libtorch::install(None)?;
    workspace::claim_target()?;
    workspace::cargo(&["build", "--workspace"])?;
    workspace::check_start()
}
