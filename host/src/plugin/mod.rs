//! Trainer plugins: the only folder that knows the binary interface.
//!
//! `search` finds a library by path or id, `manifest` reads what it says of itself without running it, `gate` decides whether it
//! may be loaded, `library` loads it through one of its two doors, and `trainer` is the safe [`LoadedTrainer`] that the rest of the
//! host calls (`child` lets that happen in a process apart); `marshal` turns tensors into borrowed C structures and back, `extensions` knows what else a plugin may offer.

mod child;
mod extensions;
mod gate;
mod library;
mod manifest;
mod marshal;
mod search;
mod trainer;

pub use child::{Child, Done, Ended};
pub use gate::LoadError;
pub use library::{Library, inspect};
pub use manifest::{ReadError, read as read_manifest};
pub use search::{Found, SearchError, is_path, list, resolve};
pub use trainer::{CallError, LoadedTrainer, Observation};
