//! What fuzz targets have in common, and the modules of the host that read a user's JSON and plugins. These are included by path: the host
//! as a library needs libtorch, and so does plugin-api.

pub mod image;
pub mod json;
pub mod plugin;

// What the host imports from plugin-api.
extern crate self as plugin_api;
#[path = "../../../plugin-api/src/abi.rs"]
pub mod abi;
#[path = "../../../plugin-api/src/manifest.rs"]
pub mod manifest;
pub use manifest::Manifest;

#[allow(unused_imports, unused_macros, reason = "nothing is printed here")]
#[path = "../../src/console.rs"]
pub mod console;
#[path = "../../src/dataset/mod.rs"]
pub mod dataset;
#[path = "../../src/fingerprint/mod.rs"]
pub mod fingerprint;
#[path = "../../src/hash.rs"]
mod hash;
#[path = "../../src/lock.rs"]
mod lock;
#[path = "../../src/name.rs"]
pub mod name;
#[path = "../../src/plan/mod.rs"]
pub mod plan;
#[path = "../../src/scratch.rs"]
mod scratch;

use std::path::{Path, PathBuf};

/// A path of this process, in memory where there is such a folder.
fn scratch(ending: &str) -> PathBuf {
    let folder = if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm").to_owned() } else { std::env::temp_dir() };
    folder.join(format!("host-fuzz-{}{ending}", std::process::id()))
}
