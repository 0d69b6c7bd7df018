//! Fuzz targets: functions that take any bytes for a user's file. See `README.md`.
//!
//! `tests/mutations.rs` runs every target of [`TARGETS`] on its `seeds` and some hundred mutations of them; `libfuzzer` on as many as there
//! is time for.

mod image;
mod json;
mod plugin;
pub mod seeds;

use std::path::{Path, PathBuf};

/// What reads one kind of file.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads bytes as a file of that kind. Panics where something is wrong with how they are read.
    pub run: fn(&[u8]),
    /// Good files to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 14] = [
    Target { name: "nifti", run: image::nifti, seeds: || seeds::images(&["nii", "nii.gz"]) },
    Target { name: "gzip", run: image::gzip, seeds: || seeds::images(&["nii.gz"]) },
    Target { name: "nrrd", run: image::nrrd, seeds: || seeds::images(&["nrrd"]) },
    Target { name: "metaimage", run: image::metaimage, seeds: || seeds::images(&["mha"]) },
    Target { name: "gipl", run: image::gipl, seeds: || seeds::images(&["gipl"]) },
    Target { name: "png", run: image::png, seeds: || seeds::images(&["png"]) },
    Target { name: "bmp", run: image::bmp, seeds: || seeds::images(&["bmp"]) },
    Target { name: "tiff", run: image::tiff, seeds: || seeds::images(&["tif", "tiff"]) },
    Target { name: "json", run: json::any, seeds: || seeds::json(&["dataset", "plans", "fingerprint"]) },
    Target { name: "dataset", run: json::dataset, seeds: || seeds::json(&["dataset"]) },
    Target { name: "plans", run: json::plans, seeds: || seeds::json(&["plans"]) },
    Target { name: "fingerprint", run: json::fingerprint, seeds: || seeds::json(&["fingerprint"]) },
    Target { name: "manifest", run: plugin::manifest, seeds: seeds::libraries },
    Target { name: "loader", run: plugin::loader, seeds: seeds::libraries },
];

/// The target of this name.
///
/// # Panics
/// When there is none.
pub fn find(name: &str) -> Target {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    *TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("no target {name}; there are {}", names.join(", ")))
}

/// A path of this thread, in memory where there is such a folder.
fn scratch(ending: &str) -> PathBuf {
    let folder = if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm").to_owned() } else { std::env::temp_dir() };
    folder.join(format!("host-fuzz-{}-{:?}{ending}", std::process::id(), std::thread::current().id()))
}
