//! Why a library is refused: each refusal names both sides and what to do. What is said of access, of trust and of the manifest stands in
//! [`super::permissions`], [`super::trust`] and [`super::manifest`].

use super::manifest::ReadError;
use super::permissions::PermissionError;
use super::trust::TrustError;
use plugin_api::manifest::API_VERSION;
use std::path::PathBuf;

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
    /// There is no room in memory, or a limit is in the way.
    #[error("cannot be copied to memory: {0}; see the limits on memory and on the size of files (ulimit -a)")]
    Copy(std::io::Error),
    /// Neither a file nor a link to one.
    #[error("is not a file")]
    NotAFile,
    /// Somebody else may have put code into it.
    #[error(transparent)]
    Permissions(#[from] PermissionError),
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
    #[error("is built for libtorch {found}, this host runs {expected}; build it against libtorch {expected}")]
    Libtorch {
        /// Its version.
        found: String,
        /// The host's.
        expected: &'static str,
    },
    /// Nobody has said that it is trusted, and only such plugins are to run.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Something it needs is not here.
    #[error("needs the extension '{needed}', which this host does not have; it has {}", known.join(", "))]
    Requires {
        /// The extension.
        needed: String,
        /// Those of the host.
        known: &'static [&'static str],
    },
    /// The loader refused it.
    #[error("cannot be loaded: {0}")]
    Dlopen(String),
    /// Same interface version, other structures.
    #[error("has another layout of the plugin interface ({0}); build it against the plugin-api {API_VERSION} of this host")]
    Layout(String),
    /// A C table with a hole.
    #[error("function {0} of its table (from 0) is NULL; every function of tp_entry must be there")]
    NullFunction(usize),
    /// A table of an extension with a hole.
    #[error("function {index} (from 0) of its table for {id} is NULL; every function must be there")]
    NullExtension {
        /// The extension.
        id: &'static str,
        /// Which function.
        index: usize,
    },
    /// An extension that its manifest names is not there.
    #[error(
        "says in its manifest that it has the extension '{0}', but returns no table for it; compare ids by their length, they are not terminated"
    )]
    NoExtension(String),
    /// Neither door.
    #[error("has a manifest but no entry; use `export_trainer!` (Rust) or define trainer_plugin_entry_v1 (C, C++)")]
    NoEntry,
}
