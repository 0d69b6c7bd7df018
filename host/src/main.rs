//! The `host` program. Exit codes: 0 done, 1 failed with one line on stderr, 2 wrong usage, 130 stopped by Ctrl-C after saving.

use clap::Parser;
use host::cli::Cli;
use host::commands::{self, Outcome};
use host::console;
use host::plugin::trust::LOCKED;
use std::io::{Error, ErrorKind};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A file-size limit then shows as an error of the write, which leaves the previous checkpoint, and not as a killed program.
    // SAFETY: sets the disposition of one signal before any thread exists.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };

    let cli = Cli::parse();
    if cli.locked {
        // Programs that this one starts are to be as strict.
        // SAFETY: no other thread exists yet that could read the environment.
        unsafe { std::env::set_var(LOCKED, "1") };
    }
    imaging::io::set_most_voxels(cli.max_voxels);
    let level = ["info", "debug", "trace"][usize::from(cli.verbose).min(2)];
    console::logger(level).init();
    match commands::execute(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // Whoever read the output has seen enough, as with `| head`.
        Err(error) if error.downcast_ref::<Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", data::plain::plain(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}
