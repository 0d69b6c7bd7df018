//! `cargo verify`: all tests, in surroundings that do not depend on who runs them, to the end; then what failed, what did not run, and
//! which took longest.
//!
//! [`run`] starts `cargo test` with its own umask, temporary folder and without the variables that tell the program something. What cargo
//! and the tests print goes to the terminal as it comes, and line by line into a [`Summary`].

mod summary;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::Error;
use crate::{tools, workspace};
use summary::Summary;

/// What begins the names of variables that tell the program, or tests, something.
const TELLING: [&str; 4] = ["TRAINER_", "nnUNet_", "HOST_", "RUST_LOG"];

unsafe extern "C" {
    /// The C library's: sets the bits that new files do not get, returns those before.
    fn umask(mask: u32) -> u32;
}

/// Runs all tests; `arguments` go to `cargo test`.
pub fn run(arguments: &[&str]) -> Result<(), Error> {
    check_permissions()?;
    let temporary = workspace::target()?.join("tmp");
    std::fs::create_dir_all(&temporary).map_err(Error::io("cannot create", &temporary))?;
    let started = Instant::now();
    let (summary, status) = test(arguments, &temporary).map_err(Error::io("cannot run", Path::new("cargo test")))?;
    println!("\n{}", summary.text(started.elapsed()));
    if status.success() { Ok(()) } else { Err(Error::Tests { status: status.to_string() }) }
}

/// The host loads no plugin that others could have written, and says why. Every test would say it again, so it is asked once.
fn check_permissions() -> Result<(), Error> {
    let host = workspace::host()?;
    let library = host.with_file_name("libbase.so");
    let mut inspect = Command::new(&host);
    inspect.args(["plugin", "inspect"]).arg(&library);
    let inspected = tools::output(without_telling(&mut inspect)).map_err(|reason| Error::Start { program: host, reason })?;
    match inspected.lines().find_map(|line| line.strip_prefix("loadable")?.trim().strip_prefix("no: ")) {
        Some(reason) => Err(Error::Refused { reason: reason.to_owned() }),
        None => Ok(()),
    }
}

/// Takes from `command` the variables that tell the program something.
fn without_telling(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| TELLING.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `cargo test` to its end, whatever fails on the way.
fn test(arguments: &[&str], temporary: &Path) -> std::io::Result<(Summary, std::process::ExitStatus)> {
    // The host refuses plugins that a group may write to; what the tests make is not to depend on the user's umask.
    // SAFETY: sets a number of this process; no memory is touched.
    unsafe { umask(0o022) };
    let mut command = workspace::cargo_command();
    command.args(["test", "--workspace", "--no-fail-fast"]).args(arguments);
    without_telling(&mut command).env("TMPDIR", temporary).current_dir(workspace::root()).stdin(Stdio::null());
    // Cargo names the programs on stderr, they name their tests on stdout: only one pipe keeps the order.
    let (reader, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // `command` holds the pipe's writing end. Once it is dropped, reading ends when the child does.
    drop(command);
    let (mut summary, mut reader, mut line) = (Summary::default(), BufReader::new(reader), Vec::new());
    while reader.read_until(b'\n', &mut line)? > 0 {
        std::io::stdout().write_all(&line)?;
        summary.read(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok((summary, child.wait()?))
}
