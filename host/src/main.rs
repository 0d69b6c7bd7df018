//! The `host` program. Exit codes: 0 done, 1 failed with one line on stderr, 2 wrong usage, 130 stopped by Ctrl-C after saving.

mod signals;

use data::scratch::Folders;
use gate::trust::LOCKED;
use host::commands::{self, Cli, Outcome};
use host::config::Missing;
use host::console::{self, Output};
use host::environment::{Environment, Stop};
use std::io::{Error, ErrorKind, IsTerminal};
use std::process::ExitCode;

fn main() -> ExitCode {
    // A file-size limit then shows as an error of the write, which leaves the previous checkpoint, and not as a killed program.
    // SAFETY: sets the disposition of one signal before any thread exists.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };

    let cli = Cli::of_program();
    if cli.locked {
        // Programs that this one starts are to be as strict.
        // SAFETY: no other thread exists yet that could read the environment.
        unsafe { std::env::set_var(LOCKED, "1") };
    }
    imaging::io::set_most_voxels(cli.max_voxels);
    let level = ["info", "debug", "trace"][usize::from(cli.verbose).min(2)];
    console::logger(level).init();
    match commands::execute(cli, &environment()) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // Whoever read the output has seen enough, as with `| head`.
        Err(error) if error.downcast_ref::<Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe) => ExitCode::SUCCESS,
        // As clap ends the program where a flag is missing.
        Err(error) if error.is::<Missing>() => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {}", imaging::plain::plain(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// This program, on this terminal.
fn environment() -> Environment {
    let program = std::env::current_exe().ok();
    let stdout = std::io::stdout();
    let width = if stdout.is_terminal() { terminal_size::terminal_size().map(|(width, _)| width.0.into()) } else { None };
    let output = Output::new(stdout, width);
    Environment::new(program, Stop::new(signals::stop), output, Folders::new(signals::remove))
}
