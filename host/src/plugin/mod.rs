//! Trainer plugins: the only folder that knows the binary interface.
//!
//! `search` finds a library by path or id, `file` reads it, `manifest` what it says of itself without running it, `permissions` asks who else
//! can write to it, `gate` whether this host has what it needs, `trust` whether the user wants it; `library` loads it through one of its two
//! doors, and `trainer` is the safe [`LoadedTrainer`] that the rest of the host calls; `marshal` turns tensors into borrowed C structures and
//! back, `extensions` knows what else a plugin may offer.

mod extensions;
mod file;
mod gate;
mod library;
mod manifest;
mod marshal;
mod permissions;
mod search;
mod trainer;
pub mod trust;

pub use file::LibraryFile;
pub use gate::LoadError;
pub use library::Library;
pub use manifest::{ReadError, read as read_manifest};
pub use permissions::quoted;
pub use search::{Found, SearchError, is_path, list, resolve};
pub use trainer::{CallError, LoadedTrainer};
