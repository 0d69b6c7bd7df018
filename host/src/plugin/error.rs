//! How a call into a plugin fails.

use super::backend::Failure;
use crate::shim::says_out_of_memory;
use gate::PluginIdentity;

/// A call into a plugin failed, or returned what it must not.
#[derive(Debug, thiserror::Error)]
#[error("plugin {plugin}: {call} {message}")]
pub struct CallError {
    /// Id and version.
    pub plugin: String,
    /// Which call.
    pub call: &'static str,
    /// What happened.
    pub message: String,
    /// It returned NaN or infinity.
    pub nonfinite: bool,
    /// It panicked or threw.
    pub panicked: bool,
    /// The device had no memory left for it.
    pub out_of_memory: bool,
}

impl CallError {
    /// What `call` into `plugin` did wrong.
    pub(crate) fn new(plugin: &PluginIdentity, call: &'static str, message: String) -> Self {
        let plugin = format!("{} {}", plugin.manifest.id, plugin.manifest.version);
        // Plugins pass on what libtorch says.
        let out_of_memory = says_out_of_memory(&message);
        Self { plugin, call, message, nonfinite: false, panicked: false, out_of_memory }
    }

    /// How `call` into `plugin` failed.
    pub(super) fn of(plugin: &PluginIdentity, call: &'static str, Failure { message, panicked }: Failure) -> Self {
        Self { panicked, ..Self::new(plugin, call, message) }
    }
}
