//! The checks that a library passes before its code runs, in order; each refusal names both sides and what to do.

use super::manifest::{self, ReadError};
use plugin_api::Manifest;
use plugin_api::manifest::{API_VERSION, LIBTORCH};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a plugin is refused.
#[derive(Debug, thiserror::Error)]
#[error("plugin {}: {reason}", path.display())]
pub struct LoadError {
    /// The library.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a library.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Somebody else may have put code into it.
    #[error("{0}; a plugin runs with your rights, so take ownership of it (chown) or make it writable for you alone (chmod go-w)")]
    Permissions(String),
    /// No usable manifest.
    #[error("{0}; build it as a cdylib with `export_trainer!`")]
    Manifest(#[from] ReadError),
    /// A panic in it would end the host.
    #[error("is built with panic = \"{0}\", this host needs \"unwind\"; remove `panic` from the plugin's Cargo profile")]
    Panic(String),
    /// Another interface.
    #[error("is built for plugin-api {found}, this host has {API_VERSION}; build it against plugin-api {API_VERSION}")]
    Api {
        /// Its version.
        found: String,
    },
    /// Another libtorch.
    #[error("is built for libtorch {found}, this host runs {LIBTORCH}; build it against libtorch {LIBTORCH}")]
    Libtorch {
        /// Its version.
        found: String,
    },
    /// Something it needs is not here.
    #[error("needs the host extension '{0}', which this host does not have")]
    Requires(String),
    /// The loader refused it.
    #[error("cannot be loaded: {0}")]
    Dlopen(String),
    /// Same interface version, other structures.
    #[error("has another layout of the plugin interface ({0}); build it against the plugin-api {API_VERSION} of this host")]
    Layout(String),
    /// A C table with a hole.
    #[error("function {0} of its table (from 0) is NULL; every function of tp_entry must be there")]
    NullFunction(usize),
    /// Neither door.
    #[error("has a manifest but no entry; use `export_trainer!` (Rust) or define trainer_plugin_entry_v1 (C, C++)")]
    NoEntry,
}

/// The open file of a library that passed every check that needs no code of it.
pub(super) struct Passed {
    pub file: File,
    pub bytes: Vec<u8>,
    pub manifest: Manifest,
}

/// Opens and checks `path`.
pub(super) fn check(path: &Path) -> Result<Passed, Reason> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let manifest = manifest::read(&bytes)?;
    check_permissions(&file)?;
    check_manifest(&manifest)?;
    Ok(Passed { file, bytes, manifest })
}

/// The file belongs to the user or to root, and not everybody can write to it.
fn check_permissions(file: &File) -> Result<(), Reason> {
    let metadata = file.metadata()?;
    // SAFETY: always succeeds, touches no memory.
    let user = unsafe { libc::geteuid() };
    if metadata.mode() & 0o002 != 0 {
        return Err(Reason::Permissions("is writable for everybody".to_owned()));
    }
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err(Reason::Permissions(format!("belongs to user {}, you are {user}", metadata.uid())));
    }
    Ok(())
}

fn check_manifest(manifest: &Manifest) -> Result<(), Reason> {
    if manifest.panic != "unwind" {
        return Err(Reason::Panic(manifest.panic.clone()));
    }
    if api_line(&manifest.api) != api_line(API_VERSION) {
        return Err(Reason::Api { found: manifest.api.clone() });
    }
    let minor = |version: &str| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    if minor(&manifest.libtorch) != minor(LIBTORCH) {
        return Err(Reason::Libtorch { found: manifest.libtorch.clone() });
    }
    match manifest.requires.first() {
        Some(extension) => Err(Reason::Requires(extension.clone())),
        None => Ok(()),
    }
}

/// Versions of one line are compatible: the same major, and before 1.0 the same minor.
fn api_line(version: &str) -> Vec<&str> {
    let parts = if version.starts_with("0.") { 2 } else { 1 };
    version.split('.').take(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::api_line;

    #[test]
    fn lines_of_compatible_versions() {
        assert_eq!(api_line("0.1.7"), api_line("0.1.0"));
        assert_ne!(api_line("0.2.0"), api_line("0.1.0"));
        assert_eq!(api_line("1.4.0"), api_line("1.0.2"));
        assert_ne!(api_line("2.0.0"), api_line("1.0.0"));
    }
}
