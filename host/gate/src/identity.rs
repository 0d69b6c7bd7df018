//! Which plugin it is: the same before and after its code runs.

use plugin_api::Manifest;
use std::path::PathBuf;

/// What tells a plugin from all others.
#[derive(Clone, Debug)]
pub struct PluginIdentity {
    /// Where it was found.
    pub path: PathBuf,
    /// Where its file lay when it was opened, without links; none where the system does not say.
    pub real_path: Option<PathBuf>,
    /// What it says of itself.
    pub manifest: Manifest,
    /// Of its bytes. A model is trained again, and predicts again, with the plugin that has this hash.
    pub sha256: String,
}
