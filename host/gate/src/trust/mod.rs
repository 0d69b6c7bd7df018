//! Which plugins the user trusts: those that ship with the host, and those that were pinned by their sha256 (`host plugin trust add`).
//!
//! Any plugin may be loaded unless the host is told to be strict, with `--locked` or `TRAINER_LOCKED=1`; then only these are. A file under the
//! id of a pinned plugin that is not one of its pins is warned of and no more without it: whoever writes a plugin builds it
//! again and again, and whoever means harm would choose another id; `--locked` is what keeps both out.
//!
//! What ships with the host is known by its place: the host program's own folder, and there only the files of the plugins that are
//! built with it, `libbase.so` for `base`. As for all plugins, nobody else can write to that folder, nor to those above it (`permissions`):
//! whoever could put a library there could as well replace the host. Any other library beside the program has to be pinned like one from
//! anywhere else.

mod pins;

use super::Host;
use super::identity::PluginIdentity;
use super::permissions::{PermissionError, Unknown};
use super::search::library_file;
use super::shell::quoted;
use std::path::PathBuf;

pub use pins::{Pin, change, pins};

/// What ships with the host: the members of the workspace below `plugins/`, which lie beside it once they are built.
pub const SHIPPED: [&str; 7] = ["base", "boundary", "cldice", "consistency", "dual-decoder", "multi-output", "uncertainty"];

/// The variable that makes the host strict, and every host that it starts.
pub const LOCKED: &str = "TRAINER_LOCKED";

/// A plugin is not trusted, or it cannot be told which ones are.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not pinned, and the host is strict.
    #[error(
        "its sha256 is {sha256}, which is not pinned{}, and --locked runs only what is pinned or ships with the host; once you trust it: host plugin trust add {}",
        told(pinned),
        quoted(path)
    )]
    NotPinned {
        /// The library.
        path: PathBuf,
        /// What it is.
        sha256: String,
        /// Other files that are pinned under its id.
        pinned: Vec<Pin>,
    },
    /// On a file system that cannot say who can write to it.
    #[error(
        "{} lies on {file_system}, which makes up owners and modes: who else can write to it is not known, and so it is loaded only when it is pinned; once you trust it: host plugin trust add {}",
        step.display(),
        quoted(path)
    )]
    MadeUpModes {
        /// The library.
        path: PathBuf,
        /// What of the way to it lies there.
        step: PathBuf,
        /// Which.
        file_system: &'static str,
    },
    /// The list of pins is not what it should be.
    #[error("{}: {reason}; put it right, or move it away and pin your plugins again (host plugin trust add)", path.display())]
    Broken {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The list of pins is not the user's alone.
    #[error("{}: {source}", path.display())]
    Permissions {
        /// Its file.
        path: PathBuf,
        /// Who else can write to it.
        source: PermissionError,
    },
    /// The list cannot be read, or locked.
    #[error("{}: {source}", path.display())]
    Io {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no place for it.
    #[error("neither XDG_CONFIG_HOME nor HOME says where the list of pinned plugins is; set one of them")]
    NoPlace,
    /// The list cannot be written; the old one is still there.
    #[error(transparent)]
    Write(#[from] imaging::io::Error),
}

/// What is known of a library.
#[derive(Debug)]
pub enum Standing {
    /// The user has pinned this very file.
    Pinned(Pin),
    /// It came with the host.
    Shipped,
    /// Neither; other files are pinned under its id, if any.
    Unknown(Vec<Pin>),
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pinned(pin) => write!(f, "pinned on {}", pin.added),
            Self::Shipped => write!(f, "ships with this host"),
            Self::Unknown(pinned) => write!(f, "not pinned{}", told(pinned)),
        }
    }
}

/// What is known of `plugin`, which may have come with `host`.
///
/// # Errors
/// When the list of pins cannot be read.
pub fn standing(plugin: &PluginIdentity, host: &Host) -> Result<Standing, TrustError> {
    let mut pins = pins()?;
    pins.retain(|pin| pin.id == plugin.manifest.id || pin.sha256 == plugin.sha256);
    if let Some(pin) = pins.iter().find(|pin| pin.sha256 == plugin.sha256) {
        return Ok(Standing::Pinned(pin.clone()));
    }
    Ok(if is_shipped(plugin, host) { Standing::Shipped } else { Standing::Unknown(pins) })
}

/// Refuses `plugin` if the host is strict and does not know it; else returns what there is to warn of.
///
/// # Errors
/// When it is not admitted.
pub(super) fn admit(plugin: &PluginIdentity, host: &Host) -> Result<Option<String>, TrustError> {
    let is_locked = std::env::var_os(LOCKED).is_some_and(|value| !value.is_empty() && value != "0");
    match standing(plugin, host) {
        Ok(Standing::Unknown(pinned)) if is_locked => {
            Err(TrustError::NotPinned { path: plugin.path.clone(), sha256: plugin.sha256.clone(), pinned })
        }
        Ok(Standing::Unknown(pinned)) if !pinned.is_empty() => {
            let (path, sha256) = (plugin.path.display(), &plugin.sha256);
            let remedy = format!("if it is meant to be another one: host plugin trust add {}", quoted(&plugin.path));
            Ok(Some(format!("plugin {path}: its sha256 is {sha256}, which is not pinned{}; {remedy}", told(&pinned))))
        }
        Ok(_) => Ok(None),
        Err(error) if is_locked => Err(error),
        // Then pins are only a convenience.
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// Refuses `plugin`, of which the file system cannot say who can write to it, unless it is pinned or ships with the host.
pub(super) fn admit_unknown(plugin: &PluginIdentity, host: &Host, unknown: Unknown) -> Result<(), TrustError> {
    match standing(plugin, host)? {
        Standing::Pinned(_) | Standing::Shipped => Ok(()),
        Standing::Unknown(_) => {
            Err(TrustError::MadeUpModes { path: plugin.path.clone(), step: unknown.step.path, file_system: unknown.file_system })
        }
    }
}

/// By its place, its name and its id; nobody else can write there, or it would have been refused before.
fn is_shipped(plugin: &PluginIdentity, host: &Host) -> bool {
    let id = plugin.manifest.id.as_str();
    let place = host.folder.as_ref().map(|folder| folder.join(library_file(id)));
    SHIPPED.contains(&id) && place.is_some() && plugin.real_path == place
}

fn told(pinned: &[Pin]) -> String {
    let one = |pin: &Pin| format!("{} {} with {} from {}", pin.id, pin.version, pin.sha256, pin.path.display());
    if pinned.is_empty() { String::new() } else { format!(" ({} is)", pinned.iter().map(one).collect::<Vec<_>>().join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ships_with_the_host_is_what_is_built_with_it() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins");
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        let mut built: Vec<String> = entries.filter(|e| e.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect();
        built.sort();
        assert_eq!(built, SHIPPED, "the list of shipped plugins has to follow");
    }
}
