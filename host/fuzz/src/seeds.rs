//! Good files, which mutations begin with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Symbols, tables and entries that libraries have or lack.
const LIBRARIES: [&[&str]; 5] = [
    &["-Os", "-s", "-DREQUIRES="],
    &["-O0", "-g", "-DREQUIRES="],
    &["-Os", "-Wl,--hash-style=sysv", "-Wl,--build-id", "-DREQUIRES="],
    &["-Os", "-s", "-DREQUIRES=\"trainer.metrics/1\""],
    &["-Os", "-s", "-DREQUIRES=", "-DAPI=\"0.0.1\""],
];

/// Golden images of `imaging` that end in one of these.
pub fn images(endings: &[&str]) -> Vec<Vec<u8>> {
    let has = |path: &Path| endings.iter().any(|ending| path.to_string_lossy().ends_with(&format!(".{ending}")));
    files(&here().join("../imaging/tests/golden/io/files")).into_iter().filter(|path| has(path)).map(|path| read(&path)).collect()
}

/// Files of these folders in `seeds`.
pub fn json(folders: &[&str]) -> Vec<Vec<u8>> {
    folders.iter().flat_map(|folder| files(&here().join("seeds").join(folder))).map(|path| read(&path)).collect()
}

/// Plugins, each of which one compiler command makes.
pub fn libraries() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let compile = |flags: &&[&str]| {
        let library = folder.path().join("plugin.so");
        let mut command = Command::new("cc");
        command.args(["-shared", "-nostdlib", "-fPIC", "-Wl,-z,noseparate-code"]).args(*flags);
        let status = command.arg(here().join("seeds/library/plugin.c")).arg("-o").arg(&library).status().expect("there is a C compiler");
        assert!(status.success(), "{command:?}");
        read(&library)
    };
    LIBRARIES.iter().map(compile).collect()
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    files
}
