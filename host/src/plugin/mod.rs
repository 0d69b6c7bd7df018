//! Trainer plugins: what the host needs of them, and the shared library, which is one.
//!
//! What happens before a plugin's code runs is in the crate `gate`. [`load`] makes a [`Plugin`] of a file: a [`TrainerBackend`], which makes calls and no
//! more. [`LoadedTrainer`] and [`LoadedTransform`] are what the rest of the host calls: whatever the backend, they keep torch's modes and generators as they
//! were and check what comes back; `error` is how a call fails, [`lent`] notices writes to what is only lent; `options` asks a schema about options.
//! `library` is the backend that calls shared libraries. `remembered` finds the plugin that trained a model. `child` runs work with a plugin in a process
//! apart. `template` and `build_variables` are for those who write plugins.

pub mod backend;
mod build_variables;
mod child;
mod error;
pub mod lent;
mod library;
mod options;
mod remembered;
mod template;
mod trainer;
mod transform;

pub use backend::{Plugin, TrainerBackend};
pub use build_variables::build_variables;
pub use child::{Child, Done, Ended};
pub use error::CallError;
pub use library::{load, load_file};
pub use options::{describe, refused_by_schema};
pub use remembered::{remember, remembered};
pub use template::{Language, create as create_from_template, plugin_api};
pub use trainer::{LoadedTrainer, Observation};
pub use transform::LoadedTransform;

/// What plugins find in this host, beside which those lie that ship with it: in `folder`.
pub fn this_host(folder: Option<std::path::PathBuf>) -> gate::Host {
    gate::Host { libtorch: plugin_api::manifest::LIBTORCH, extensions: &library::KNOWN_EXTENSIONS, folder }
}
