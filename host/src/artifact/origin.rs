//! What a network was trained as, and by which plugin.

use crate::network::{Trunk, trunk};
use data::plan::Architecture;
use gate::PluginIdentity;
use plugin_api::manifest::{ACTIVATE, FORWARD};
use plugin_api::{Manifest, Task};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// What a network was trained as: enough to build it again, and to predict with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Plugin id.
    pub plugin: String,
    /// Its version.
    pub plugin_version: String,
    /// Its file. Not in nnU-Net's checkpoints, nor in our oldest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<LibraryRecord>,
    /// Options of the run.
    pub options: Value,
    /// The configuration of the plans: network, spacing, normalisation.
    pub plan: Value,
    /// Patch (z, y, x).
    pub patch: [usize; 3],
    /// Axes of mirroring, in training and so in prediction.
    pub mirror: Vec<usize>,
    /// What the host told the trainer: its heads may depend on it. Not in nnU-Net's checkpoints, nor in ours from before 2026-12.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
}

/// The very plugin that trained a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LibraryRecord {
    /// Of its file.
    pub sha256: String,
    /// What it said of itself.
    pub manifest: Manifest,
}

impl LibraryRecord {
    /// Of a plugin that is loaded.
    pub fn of(plugin: &PluginIdentity) -> Self {
        Self { sha256: plugin.sha256.clone(), manifest: plugin.manifest.clone() }
    }
}

/// Plugins that ship with the host and keep both methods, as they were when manifests could not say so.
const KEPT_BOTH: [&str; 6] = ["base", "boundary", "cldice", "consistency", "multi-output", "uncertainty"];

/// Whether what a network was trained with is what the host, and nnU-Net, would do themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// Its plugin says that it keeps `activate` and `forward`.
    Both,
    /// Its plugin says that it keeps one of them only.
    One,
    /// Its plugin says nothing.
    Unsaid,
}

impl Origin {
    /// The trunk that was planned.
    ///
    /// # Errors
    /// When there is no such trunk, in words that go on from the checkpoint's name.
    pub(super) fn trunk(&self) -> Result<Box<dyn Trunk>, String> {
        let architecture = Architecture::deserialize(&self.plan["architecture"]).map_err(|e| format!("its plan's architecture: {e}"))?;
        trunk(&architecture).map_err(|e| e.to_string())
    }

    /// What its plugin said of the methods that it keeps.
    pub fn keeps(&self) -> Keeps {
        let says = |method| self.library.as_ref().is_some_and(|library| library.manifest.keeps(method));
        match [ACTIVATE, FORWARD].map(says) {
            [true, true] => Keeps::Both,
            [false, false] if !self.could_say() && KEPT_BOTH.contains(&self.plugin.as_str()) => Keeps::Both,
            [false, false] => Keeps::Unsaid,
            _ => Keeps::One,
        }
    }

    /// Whether its plugin was built with an interface whose manifest has the key `keeps`: from 1.2 on.
    fn could_say(&self) -> bool {
        let number = |part: Option<&str>| part.and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
        self.library.as_ref().is_some_and(|library| {
            let mut parts = library.manifest.api.split('.');
            (number(parts.next()), number(parts.next())) >= (1, 2)
        })
    }

    /// Says so if `plugin` is another build than the one that trained this, which stands in `checkpoint`.
    pub fn tell_other_build(&self, checkpoint: &Path, plugin: &PluginIdentity) {
        if let Some(trained) = self.library.as_ref().filter(|trained| trained.sha256 != plugin.sha256) {
            let (LibraryRecord { sha256, manifest }, now) = (trained, &plugin.manifest);
            let (id, version) = (&manifest.id, &manifest.version);
            log::info!(
                "{}: trained with {id} {version} of sha256 {sha256}, used with {} {} of sha256 {}",
                checkpoint.display(),
                now.id,
                now.version,
                plugin.sha256
            );
        }
    }
}
