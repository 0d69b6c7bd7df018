//! Trainer plugins: the only folder that knows the binary interface.
//!
//! What happens before a library's code runs is in the crate `gate`. Here `remembered` finds the library that trained a model, `library` loads one
//! through one of its two doors, and `trainer` is the safe [`LoadedTrainer`] that the rest of the host calls; `services` is what a plugin may call,
//! `marshal` turns tensors into borrowed C structures and back, `extensions` knows what else a plugin may offer, of which `transform` lives beside
//! the trainer, `error` is how a call fails, [`lent`] notices writes to what is only lent; `options` asks a schema about options. `child` runs work
//! with a plugin in a process apart. `template` and `build_variables` are for those who write plugins.

mod build_variables;
mod child;
mod error;
mod extensions;
pub mod lent;
mod library;
mod marshal;
mod options;
mod remembered;
mod services;
mod template;
mod trainer;
mod transform;

pub use build_variables::build_variables;
pub use child::{Child, Done, Ended};
pub use error::CallError;
pub use extensions::KNOWN as KNOWN_EXTENSIONS;
pub use library::Library;
pub use options::refused_by_schema;
pub use remembered::{remember, remembered};
pub use template::{Language, create as create_from_template, plugin_api};
pub use trainer::{LoadedTrainer, Observation};
pub use transform::LoadedTransform;

/// What plugins find in this host, beside which those lie that ship with it: in `folder`.
pub fn this_host(folder: Option<std::path::PathBuf>) -> gate::Host {
    gate::Host { libtorch: plugin_api::manifest::LIBTORCH, extensions: &KNOWN_EXTENSIONS, folder }
}
