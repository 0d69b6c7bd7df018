//! How a call into a plugin fails.

use super::Library;
use crate::shim::says_out_of_memory;
use plugin_api::abi;

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
    /// What `call` into `library` did wrong.
    pub(crate) fn new(library: &Library, call: &'static str, message: String) -> Self {
        let plugin = format!("{} {}", library.manifest.id, library.manifest.version);
        // Libraries pass on what libtorch says.
        let out_of_memory = says_out_of_memory(&message);
        Self { plugin, call, message, nonfinite: false, panicked: false, out_of_memory }
    }

    /// `call` into `library` returned `status`, which is not [`abi::OK`], and wrote `message`.
    pub(super) fn returned(library: &Library, call: &'static str, status: i32, message: &[u8]) -> Self {
        let message = String::from_utf8_lossy(message);
        let message = message.lines().next().unwrap_or("no message");
        let panicked = status == abi::PANIC;
        let message = if panicked { message.to_owned() } else { format!("failed: {message}") };
        Self { panicked, ..Self::new(library, call, message) }
    }
}
