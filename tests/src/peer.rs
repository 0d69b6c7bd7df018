//! nnU-Net itself, for the tests that are ignored because not everybody has it.

use std::path::{Path, PathBuf};

/// A program of the environment in which nnU-Net is installed: the one that `PEER_VENV` names, or else where `../shared/peer/setup.sh` puts it.
pub fn program(name: &str) -> PathBuf {
    let usual = || Path::new(&std::env::var_os("HOME").expect("HOME is set")).join(".cache/peer-venv");
    let environment = std::env::var_os("PEER_VENV").map_or_else(usual, PathBuf::from);
    let program = environment.join("bin").join(name);
    assert!(
        program.is_file(),
        "{} is not there; install nnU-Net with ../shared/peer/setup.sh, or let PEER_VENV name an environment that has it",
        program.display()
    );
    program
}
