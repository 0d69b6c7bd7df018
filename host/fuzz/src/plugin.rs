//! What the plugin targets do: the fuzzer's bytes are a library, which is read and checked as `host plugin inspect` does, and made ready for the
//! dynamic loader. What that does with a damaged library is another matter: see `tests/tests/plugins/plugin_mutated.rs`.
//!
//! Whatever the bytes are, there is a manifest or an error of one line. Panics and memory beyond the fuzzer's limit are findings.

use std::fs;
use std::os::fd::AsRawFd;

use crate::scratch;
use gate::{Host, LibraryFile, trust};

/// Reads the manifest of the library `bytes`.
pub fn manifest(bytes: &[u8]) {
    match gate::manifest::read(bytes) {
        Ok(manifest) => one_line(&format!("{} {}", manifest.id, manifest.description)),
        Err(error) => one_line(&error.to_string()),
    }
}

/// Does all that is done before code of the library `bytes` runs.
pub fn loader(bytes: &[u8]) {
    let path = scratch(".so");
    fs::write(&path, bytes).expect("the folder can be written to");
    let file = match LibraryFile::read(&path) {
        Ok(file) => file,
        Err(error) => return one_line(&error.to_string()),
    };
    let host = Host { libtorch: "2.13.0", extensions: &[], folder: None };
    match file.admit(&host) {
        Ok(warning) => one_line(&warning.unwrap_or_default()),
        Err(error) => one_line(&error.to_string()),
    }
    one_line(&trust::standing(&file.identity, &host).expect("nothing is pinned").to_string());
    let copy = file.sealed_copy().expect("there is memory");
    let copied = fs::read(format!("/proc/self/fd/{}", copy.as_raw_fd())).expect("it was just made");
    assert!(copied == bytes, "the copy is another library");
}

fn one_line(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
}
