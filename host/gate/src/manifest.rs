//! Reads the manifest section of a library's bytes; nothing of the library runs.

use object::{Object, ObjectSection, ObjectSegment};
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
    /// It holds text that must not reach a terminal or a path.
    #[error("has a broken manifest: its {field} is {found:?}, expected {expected}")]
    Text {
        /// Which.
        field: &'static str,
        /// What it says.
        found: String,
        /// What it may say.
        expected: &'static str,
    },
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
    // The dynamic loader maps segments as they are declared, and crashes where the file ends before they do.
    file.segments().try_for_each(|segment| segment.data().map(drop)).map_err(not_elf)?;
    let section = file.section_by_name(MANIFEST_SECTION).ok_or(ReadError::NoManifest)?;
    let json = section.data().map_err(not_elf)?;
    // A C compiler may pad the section with zeros.
    let end = json.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let manifest = serde_json::from_slice(&json[..end])?;
    check_texts(&manifest)?;
    Ok(manifest)
}

/// Manifests are printed before anybody has decided to trust a plugin, and its id becomes part of folder names.
fn check_texts(manifest: &Manifest) -> Result<(), ReadError> {
    let Manifest {
        id,
        version,
        authors,
        license,
        description,
        api,
        libtorch,
        compiler,
        target,
        panic,
        requires,
        augmentation,
        training,
        keeps,
        extensions,
    } = manifest;
    let refuse = |field, found: &str, expected| Err(ReadError::Text { field, found: found.to_owned(), expected });
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if id.is_empty() || id.starts_with('.') || !id.chars().all(is_name) {
        return refuse("id", id, "letters, digits, '-', '_' and '.', which it does not begin with");
    }
    let texts = [
        ("version", version),
        ("authors", authors),
        ("license", license),
        ("description", description),
        ("api", api),
        ("libtorch", libtorch),
        ("compiler", compiler),
        ("target", target),
        ("panic", panic),
    ];
    let lists = [
        ("requires", requires.iter()),
        ("keeps", keeps.iter()),
        ("extensions", extensions.iter()),
        ("augmentation", augmentation.as_slice().iter()),
        ("training", training.as_slice().iter()),
    ];
    let mut all = texts.into_iter().chain(lists.into_iter().flat_map(|(field, texts)| texts.map(move |text| (field, text))));
    match all.find(|(_, text)| text.contains(char::is_control)) {
        Some((field, text)) => refuse(field, text, "text of one line"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(id: &str, description: &str) -> String {
        let json = serde_json::json!({
            "id": id, "version": "1.0.0", "description": description, "api": "1.0.0", "libtorch": "2.13.0", "panic": "unwind"
        });
        let manifest = serde_json::from_value(json).expect("a manifest");
        check_texts(&manifest).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn what_a_manifest_says_can_be_shown() {
        assert_eq!(verdict("org.lab.soft-dice_2", "Größe ≥ 1"), "fine");
        for id in ["", "../elsewhere", ".hidden", "a b", "a/b", "größe", "a\n"] {
            assert!(verdict(id, "").starts_with("has a broken manifest: its id is "), "{id}");
        }
        let refused = verdict("a", "\u{1b}[2J");
        assert!(refused.contains(r#"its description is "\u{1b}[2J""#), "{refused}");
    }
}
