//! The programs that a fresh machine has to bring: Python 3 with pip, and a C++ compiler.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::error::Error;

/// Python's name: `$PYTHON`, else `python3`.
pub fn python() -> String {
    from_environment("PYTHON", "python3")
}

/// Checks that Python runs and has pip. pip is always called as `python -m pip`: a program called `pip` may be absent,
/// or belong to another Python.
pub fn check_python() -> Result<(), Error> {
    let program = python();
    output(Command::new(&program).args(["-c", "import sys; sys.exit(sys.version_info < (3,))"]))
        .map_err(|reason| Error::Python { program: program.clone(), reason })?;
    output(Command::new(&program).args(["-m", "pip", "--version"])).map_err(|_| Error::Pip { program })?;
    Ok(())
}

/// The standard of `host/build.rs` and of the plugins that `host plugin new --lang c++` writes; libtorch's bindings ask for less.
const STANDARD: &str = "-std=c++20";
/// What only the library of that standard has.
const PROGRAM: &[u8] = b"#include <span>\nstd::span<int> none;\n";

/// Checks that the C++ compiler knows the standard and finds its library: `gcc` without `g++` has a driver for C++, but nothing
/// behind it. The name is the one that the build scripts will use: `$CXX`, else `c++`.
pub fn check_compiler() -> Result<(), Error> {
    let program = from_environment("CXX", "c++");
    // CXX may carry a wrapper or options, as in "ccache g++".
    let mut words = program.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("c++"));
    command.args(words).args(["-x", "c++", STANDARD, "-fsyntax-only", "-"]);
    compile(&mut command).map_err(|reason| Error::Compiler { program, reason })
}

fn compile(command: &mut Command) -> Result<(), String> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A compiler that has already given up closes the pipe; its exit status says so below.
        let _ = stdin.write_all(PROGRAM);
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(first_line(&output.stderr, &output.status)) }
}

/// Runs a command to its end and returns what it printed, or one line that says why not.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(last_line(&output.stderr, &output.status))
    }
}

/// Compilers name the cause first …
fn first_line(stderr: &[u8], status: &std::process::ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().find(|line| !line.trim().is_empty()).map_or_else(|| status.to_string(), |line| line.trim().to_owned())
}

/// … Python and the loader last.
fn last_line(stderr: &[u8], status: &std::process::ExitStatus) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().rfind(|line| !line.trim().is_empty()).map_or_else(|| status.to_string(), |line| line.trim().to_owned())
}

fn from_environment(variable: &str, default: &str) -> String {
    std::env::var(variable).ok().filter(|value| !value.trim().is_empty()).unwrap_or_else(|| default.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_gives_its_last_line_and_a_missing_one_the_system_s_reason() {
        let failed = output(Command::new("sh").args(["-c", "echo first >&2; echo cause >&2; exit 3"]));
        assert_eq!(failed, Err("cause".to_owned()));
        assert_eq!(output(Command::new("sh").args(["-c", "exit 3"])), Err("exit status: 3".to_owned()));
        assert!(output(&mut Command::new("no-such-program-anywhere")).unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_compiler_without_the_library_is_refused_with_its_first_line() {
        let refused = compile(Command::new("sh").args(["-c", "cat >/dev/null; echo 'fatal: span: no such file' >&2; exit 1"]));
        assert_eq!(refused, Err("fatal: span: no such file".to_owned()));
    }

    #[test]
    fn what_is_checked_is_the_standard_that_is_compiled_by() {
        let file = |path: &str| std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let standard = STANDARD.strip_prefix("-std=").unwrap();
        assert!(file("../build.rs").contains(&format!(".std(\"{standard}\")")));
        assert!(file("../templates/c++/build.sh").contains(&format!(" {STANDARD} ")));
    }
}
