//! Reads the manifest section of a library's bytes; nothing of the library runs.

use object::{Object, ObjectSection};
use plugin_api::{Manifest, abi::MANIFEST_SECTION};

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not an ELF file.
    #[error("is not a shared library ({0})")]
    NotELF(String),
    /// ELF, but for another kind of machine.
    #[error("is built for {found}, this host runs on {expected}")]
    Machine {
        /// Its architecture.
        found: String,
        /// Ours.
        expected: &'static str,
    },
    /// A library of another sort.
    #[error("is a shared library but not a trainer plugin: it has no section {MANIFEST_SECTION}")]
    NoManifest,
    /// The section does not hold the expected JSON.
    #[error("has a broken manifest: {0}")]
    Broken(#[from] serde_json::Error),
}

/// The manifest in `bytes`, the content of a library file.
pub fn read(bytes: &[u8]) -> Result<Manifest, ReadError> {
    let not_elf = |e: object::Error| ReadError::NotELF(e.to_string());
    let file = object::File::parse(bytes).map_err(not_elf)?;
    let (machine, ours) = (file.architecture(), std::env::consts::ARCH);
    let expected = match ours {
        "x86_64" => object::Architecture::X86_64,
        "aarch64" => object::Architecture::Aarch64,
        _ => machine,
    };
    if machine != expected {
        return Err(ReadError::Machine { found: format!("{machine:?}"), expected: ours });
    }
    let section = file.section_by_name(MANIFEST_SECTION).ok_or(ReadError::NoManifest)?;
    let json = section.data().map_err(not_elf)?;
    // A C compiler may pad the section with zeros.
    let end = json.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Ok(serde_json::from_slice(&json[..end])?)
}
