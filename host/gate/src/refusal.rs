//! Why a library is refused, and what its manifest must say; each refusal names both sides and what to do.

use super::Host;
use super::manifest::ReadError;
use super::permissions::PermissionError;
use super::trust::TrustError;
use plugin_api::Manifest;
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

/// What can be told without running the plugin: whether `host` has what it was built for.
pub(super) fn check(manifest: &Manifest, host: &Host) -> Result<(), Reason> {
    if manifest.panic != "unwind" {
        return Err(Reason::Panic(manifest.panic.clone()));
    }
    if api_line(&manifest.api) != api_line(API_VERSION) {
        return Err(Reason::Api { found: manifest.api.clone() });
    }
    let minor = |version: &str| version.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    if minor(&manifest.libtorch) != minor(host.libtorch) {
        return Err(Reason::Libtorch { found: manifest.libtorch.clone(), expected: host.libtorch });
    }
    match manifest.requires.iter().find(|extension| !host.extensions.contains(&extension.as_str())) {
        Some(extension) => Err(Reason::Requires { needed: extension.clone(), known: host.extensions }),
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
    use super::*;

    const LIBTORCH: &str = "2.13.0";

    /// What the gate says of a plugin whose manifest would pass but for this change.
    fn verdict(change: impl FnOnce(&mut Manifest)) -> String {
        let json = serde_json::json!({"id": "x", "version": "1.0.0", "api": API_VERSION, "libtorch": LIBTORCH, "panic": "unwind"});
        let mut manifest = serde_json::from_value(json).unwrap();
        change(&mut manifest);
        let host = Host { libtorch: LIBTORCH, extensions: &["trainer.target-transform/1"], folder: None };
        check(&manifest, &host).map_or_else(|reason| reason.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn lines_of_compatible_versions() {
        assert_eq!(api_line("0.1.7"), api_line("0.1.0"));
        assert_ne!(api_line("0.2.0"), api_line("0.1.0"));
        assert_eq!(api_line("1.4.0"), api_line("1.0.2"));
        assert_ne!(api_line("2.0.0"), api_line("1.0.0"));
    }

    #[test]
    fn a_plugin_for_another_patch_of_libtorch_passes_and_for_another_minor_is_refused() {
        let built_for = |version: &str| verdict(|manifest| manifest.libtorch = version.to_owned());
        for same in [LIBTORCH, "2.13.1", "2.13.17+cpu"] {
            assert_eq!(built_for(same), "fine", "{same}");
        }
        // 2.130 begins with the same letters as 2.13; "unknown" is what trainer_plugin.h writes without libtorch's headers.
        for other in ["2.14.0", "3.13.0", "2.130.0", "2", "unknown", ""] {
            let refused = built_for(other);
            assert!(refused.contains(&format!("is built for libtorch {other}, this host runs {LIBTORCH}")), "{other}: {refused}");
        }
    }

    #[test]
    fn any_compiler_and_any_minor_of_the_interface_pass() {
        for compiler in ["rustc 1.0.0 (a59de37e9 2015-05-13)", "4.8", "99.0", ""] {
            assert_eq!(verdict(|manifest| manifest.compiler = compiler.to_owned()), "fine", "{compiler}");
        }
        assert_eq!(verdict(|manifest| manifest.api = "1.99.0".to_owned()), "fine");
        let refused = verdict(|manifest| manifest.api = "2.0.0".to_owned());
        assert!(refused.contains(&format!("is built for plugin-api 2.0.0, this host has {API_VERSION}")), "{refused}");
    }

    #[test]
    fn what_a_plugin_requires_must_be_there_and_panics_must_unwind() {
        let refused = verdict(|manifest| manifest.requires = vec!["host.tracing/1".to_owned()]);
        assert!(refused.contains("needs the extension 'host.tracing/1'"), "{refused}");
        assert_eq!(verdict(|manifest| manifest.requires = vec!["trainer.target-transform/1".to_owned()]), "fine");
        let refused = verdict(|manifest| manifest.panic = "abort".to_owned());
        assert!(refused.contains("is built with panic = \"abort\", this host needs \"unwind\""), "{refused}");
    }
}
