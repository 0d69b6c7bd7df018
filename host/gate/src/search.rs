//! Finds plugins by path or id, from their manifests alone.
//!
//! Searched in this order: the folders of `TRAINER_PLUGIN_PATH`, the folder of the host program, `~/.local/share/trainer-plugins`.
//! Never the working folder.

use super::Host;
use super::file::read_file;
use super::manifest::{self, ReadError};
use super::trust::SHIPPED;
use plugin_api::Manifest;
use std::path::PathBuf;

/// The variable that names further folders, separated by colons.
pub const SEARCH_PATH: &str = "TRAINER_PLUGIN_PATH";

/// A library in a search folder.
#[derive(Debug)]
pub struct Found {
    /// Its file.
    pub path: PathBuf,
    /// What it says of itself, or why it cannot be read.
    pub manifest: Result<Manifest, ReadError>,
}

/// An id leads to no library, or to several.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// No library has this id.
    #[error("no plugin '{id}' in {folders}{hint}")]
    Unknown {
        /// As asked for.
        id: String,
        /// What was searched.
        folders: String,
        /// What to do.
        hint: String,
    },
    /// Several libraries have this id.
    #[error("plugin id '{id}' is ambiguous: {candidates}; give the path of the one you want")]
    Ambiguous {
        /// As asked for.
        id: String,
        /// Their paths.
        candidates: String,
    },
    /// A path that leads nowhere.
    #[error("no plugin at {}: the file does not exist", .0.display())]
    NoFile(PathBuf),
}

/// The library that `spec` names: a path if it has a separator or ends in `.so`, else an id.
pub fn resolve(spec: &str, host: &Host) -> Result<PathBuf, SearchError> {
    if is_path(spec) {
        let path = std::path::absolute(spec).unwrap_or_else(|_| PathBuf::from(spec));
        return if path.is_file() { Ok(path) } else { Err(SearchError::NoFile(path)) };
    }
    let all = list(host);
    let with_id =
        |id: &str| all.iter().filter(|f| f.manifest.as_ref().is_ok_and(|m| m.id == id)).map(|f| f.path.clone()).collect::<Vec<_>>();
    match with_id(spec).as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(SearchError::Unknown { id: spec.to_owned(), folders: display(&folders(host)), hint: hint(spec, &all) }),
        several => Err(SearchError::Ambiguous { id: spec.to_owned(), candidates: display(several) }),
    }
}

/// Whether `spec` is the path of a library rather than an id.
pub fn is_path(spec: &str) -> bool {
    spec.contains('/') || spec.ends_with(".so")
}

/// Every plugin in the search folders, and every library there whose manifest is broken. Runs no plugin code.
pub fn list(host: &Host) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for folder in folders(host) {
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
        for path in files.into_iter().filter(|path| path.extension().is_some_and(|e| e == "so")) {
            let Ok((_, bytes)) = read_file(&path) else { continue };
            let manifest = manifest::read(&bytes);
            let seen = || found.iter().any(|f| std::fs::canonicalize(&f.path).ok() == std::fs::canonicalize(&path).ok());
            if !matches!(manifest, Err(ReadError::NoManifest | ReadError::NotELF(_))) && !seen() {
                found.push(Found { path, manifest });
            }
        }
    }
    found
}

/// What Cargo calls the library of plugin `id`.
pub fn library_file(id: &str) -> String {
    format!("lib{}.so", id.replace('-', "_"))
}

fn folders(host: &Host) -> Vec<PathBuf> {
    let listed = std::env::var_os(SEARCH_PATH);
    let mut folders: Vec<PathBuf> = listed.iter().flat_map(std::env::split_paths).filter(|folder| folder.is_absolute()).collect();
    folders.extend(host.folder.clone());
    folders.extend(std::env::home_dir().map(|home| home.join(".local/share/trainer-plugins")));
    folders
}

fn display(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn hint(id: &str, all: &[Found]) -> String {
    if SHIPPED.contains(&id) {
        return format!("; build the plugins that ship with the host: cargo build --package {id}");
    }
    let ids: Vec<&str> = all.iter().filter_map(|f| f.manifest.as_ref().ok()).map(|m| m.id.as_str()).collect();
    if ids.is_empty() {
        return format!("; name further folders in {SEARCH_PATH}, or give a path");
    }
    plugin_api::options::suggestion(id, ids.iter().copied())
}
