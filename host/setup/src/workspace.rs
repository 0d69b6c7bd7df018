//! Cargo and the built `host` program, run from this clone.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::{libtorch, tools};

/// The root of this clone.
pub fn root() -> &'static Path {
    // host/setup is two folders below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

/// Runs cargo on this workspace; its output goes to the terminal as it comes.
pub fn cargo(arguments: &[&str]) -> Result<(), Error> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let shown = format!("cargo {}", arguments.join(" "));
    eprintln!("setup: {shown}");
    let mut command = Command::new(&program);
    command.args(arguments);
    if libtorch::given().is_none() {
        // Ours comes from .cargo/config.toml. Handed down as a variable it would look changed to a plain `cargo build`
        // afterwards, and the bindings would compile again.
        command.env_remove("LIBTORCH");
    }
    let failed = |status: String| Error::Cargo { command: shown.clone(), status };
    let status = command.status().map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// The built `host` program: it lies beside this one, whatever target folder cargo was told to use.
fn host() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(Error::io("cannot find the folder of", Path::new("setup")))?;
    Ok(own.with_file_name("host"))
}

/// Proves that the program finds libtorch and all that libtorch needs. Without the library path that `cargo run` sets,
/// as it will start from a shell.
pub fn check_start() -> Result<(), Error> {
    let program = host()?;
    tools::output(Command::new(&program).arg("--version").env_remove("LD_LIBRARY_PATH"))
        .map(|_| ())
        .map_err(|reason| Error::Start { program, reason })
}

/// Becomes the `host` program: its exit code is ours, and Ctrl-C reaches it alone. Returns only when it cannot be run.
pub fn become_host(arguments: &[&str]) -> Result<Infallible, Error> {
    let program = host()?;
    let reason = Command::new(&program).args(arguments).exec();
    Err(Error::io("cannot run", &program)(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace_and_the_aliases() {
        assert!(root().join("Cargo.lock").is_file());
        assert!(root().join(".cargo/config.toml").is_file());
    }
}
