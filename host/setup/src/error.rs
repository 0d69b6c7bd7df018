//! What can go wrong, each with what to do about it. Written by hand: a derive would make the first build of a fresh clone longer.

use std::fmt;
use std::path::{Path, PathBuf};

/// The one error type of this program.
#[derive(Debug)]
pub enum Error {
    /// The command line asks for nothing that exists; holds the usage text.
    Usage(&'static str),
    /// PyPI has no libtorch for this machine.
    Machine {
        /// Operating system and architecture.
        found: String,
    },
    /// No Python 3 under this name.
    Python {
        /// The program that was tried.
        program: String,
        /// What happened instead.
        reason: String,
    },
    /// Python is there, pip is not.
    Pip {
        /// The Python that was asked.
        program: String,
    },
    /// No working C++ compiler under this name.
    Compiler {
        /// The program that was tried.
        program: String,
        /// What happened instead.
        reason: String,
    },
    /// pip ended with an error; it has said why on the terminal.
    Install {
        /// pip's exit status.
        status: String,
    },
    /// A folder that should hold libtorch does not.
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// What is missing or wrong.
        reason: String,
        /// What to do.
        hint: &'static str,
    },
    /// Something other than our link lies at `.libtorch`.
    LinkTaken {
        /// The path of the link.
        path: PathBuf,
    },
    /// Neither XDG_CACHE_HOME nor HOME is set.
    NoCache,
    /// A cargo command failed; it has said why on the terminal.
    Cargo {
        /// The command.
        command: String,
        /// Its exit status.
        status: String,
    },
    /// Tests failed; which, and how to run them, has just been printed.
    Tests {
        /// Cargo's exit status.
        status: String,
    },
    /// The host refuses the plugins that were built, and so would every test.
    Refused {
        /// Why, in the host's words.
        reason: String,
    },
    /// The target folder is another clone's.
    Shared {
        /// The folder.
        target: PathBuf,
        /// The other clone.
        other: PathBuf,
    },
    /// The built program does not start.
    Start {
        /// The program.
        program: PathBuf,
        /// What it, or the loader, said.
        reason: String,
    },
    /// A file operation failed.
    Io {
        /// What was being done, as "cannot …".
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl Error {
    /// For `map_err`: names the action and the path.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(usage) => write!(f, "no such command\n\n{usage}"),
            Self::Machine { found } => write!(
                f,
                "PyPI has libtorch for glibc Linux on x86_64 and aarch64, this machine is {found}: \
                 install libtorch {} yourself and point LIBTORCH to it",
                crate::libtorch::VERSION
            ),
            Self::Python { program, reason } => write!(
                f,
                "no Python 3 as `{program}` ({reason}): install it (Debian, Ubuntu: apt install python3 python3-pip) or name another one in PYTHON"
            ),
            Self::Pip { program } => write!(
                f,
                "`{program}` has no pip: install it (Debian, Ubuntu: apt install python3-pip) or name a Python that has it in PYTHON"
            ),
            Self::Compiler { program, reason } => write!(
                f,
                "no working C++20 compiler as `{program}` ({reason}): install one (Debian, Ubuntu: apt install g++) or name another one in CXX"
            ),
            Self::Install { status } => {
                write!(f, "pip could not install libtorch ({status}); its messages are above, and nothing was left behind")
            }
            Self::Incomplete { folder, reason, hint } => {
                write!(f, "no usable libtorch {} in {} ({reason}): {hint}", crate::libtorch::VERSION, folder.display())
            }
            Self::LinkTaken { path } => {
                write!(f, "{} is not a symbolic link, and set-up wants to put one there: move it away", path.display())
            }
            Self::NoCache => write!(f, "neither XDG_CACHE_HOME nor HOME is set: set one, libtorch goes into a cache folder below it"),
            Self::Cargo { command, status } => {
                write!(f, "`{command}` failed ({status}); its messages are above")
            }
            Self::Tests { status } => write!(f, "not all tests passed ({status}); they are listed above"),
            Self::Refused { reason } => {
                write!(f, "the host refuses the plugins of this clone, so no test that loads one can pass: {reason}")
            }
            Self::Shared { target, other } => write!(
                f,
                "the clone in {} builds in {}, too, and plugins of both would have the same file names there: set CARGO_TARGET_DIR to a folder of this clone's own",
                other.display(),
                target.display()
            ),
            Self::Start { program, reason } => write!(f, "{} was built but does not start: {reason}", program.display()),
            Self::Io { action, path, source } => write!(f, "{action} {}: {source}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_its_debian_package() {
        let pip = Error::Pip { program: "python3".into() }.to_string();
        assert!(pip.contains("`python3` has no pip") && pip.contains("apt install python3-pip"), "{pip}");
        let compiler = Error::Compiler { program: "c++".into(), reason: "not found".into() }.to_string();
        assert!(compiler.contains("apt install g++") && compiler.contains("CXX"), "{compiler}");
    }

    #[test]
    fn every_message_but_the_usage_is_one_line() {
        let errors = [
            Error::Machine { found: "macos on aarch64".into() },
            Error::Python { program: "python3".into(), reason: "not found".into() },
            Error::Install { status: "exit status: 1".into() },
            Error::NoCache,
            Error::io("cannot read", Path::new("/x"))(std::io::Error::other("broken")),
        ];
        for error in errors {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
}
