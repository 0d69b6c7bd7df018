//! Cargo and the built `host` program, run from this clone.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::error::Error;
use crate::{libtorch, tools};

/// The root of this clone.
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        // The path that Cargo says as it starts this program: where two clones have one target folder, the other one may have compiled it.
        let said = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).filter(|folder| folder.ends_with("host/setup"));
        let own = said.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        // host/setup is two folders below it.
        own.ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
    });
    &ROOT
}

/// The cargo that runs this program, to be given arguments.
pub fn cargo_command() -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    if libtorch::given().is_none() {
        // Ours comes from .cargo/config.toml. Handed down as a variable it would look changed to a plain `cargo build`
        // afterwards, and the bindings would compile again.
        command.env_remove("LIBTORCH");
    }
    command
}

/// Runs cargo on this workspace; its output goes to the terminal as it comes.
pub fn cargo(arguments: &[&str]) -> Result<(), Error> {
    let shown = format!("cargo {}", arguments.join(" "));
    eprintln!("setup: {shown}");
    let failed = |status: String| Error::Cargo { command: shown.clone(), status };
    let status = cargo_command().args(arguments).status().map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// The built `host` program: it lies beside this one, whatever target folder cargo was told to use.
pub fn host() -> Result<PathBuf, Error> {
    Ok(own_folder()?.join("host"))
}

/// The target folder, in which this program lies as `debug/setup`.
pub fn target() -> Result<PathBuf, Error> {
    Ok(own_folder()?.parent().unwrap_or(Path::new(".")).to_owned())
}

fn own_folder() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(Error::io("cannot find the folder of", Path::new("setup")))?;
    Ok(own.parent().unwrap_or(Path::new(".")).to_owned())
}

/// Refuses a target folder that another clone builds in: plugins of both have the same file names there, and cargo would take the one's for
/// the other's. Where that clone is gone, its plugins are removed and the folder is this clone's.
pub fn claim_target() -> Result<(), Error> {
    let target = target()?;
    let mark = target.join("clone");
    let clone = std::fs::read_to_string(&mark).ok().map(PathBuf::from);
    match clone {
        Some(other) if other == root() => return Ok(()),
        Some(other) if other.join("Cargo.lock").is_file() => return Err(Error::Shared { target, other }),
        Some(_) => {
            let built = target.join("debug/deps");
            let plugins = std::fs::read_dir(&built).into_iter().flatten().flatten().map(|entry| entry.path());
            // Libraries of procedural macros, which may stay, have a hash in their name.
            let is_plugin = |path: &PathBuf| {
                path.extension().is_some_and(|end| end == "so")
                    && path.file_stem().is_some_and(|name| !name.to_string_lossy().contains('-'))
            };
            for plugin in plugins.filter(is_plugin) {
                std::fs::remove_file(&plugin).map_err(Error::io("cannot remove", &plugin))?;
            }
        }
        None => {}
    }
    std::fs::write(&mark, root().as_os_str().as_encoded_bytes()).map_err(Error::io("cannot write", &mark))
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
