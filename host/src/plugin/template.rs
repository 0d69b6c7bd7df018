//! New plugins: a folder with all that a first one needs, which builds, has tests, and passes its check as it is.

use gate::search::library_file;
use plugin_api::manifest::API_VERSION;
use std::path::{Path, PathBuf};

/// In which language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// A crate
    Rust,
    /// One source file, the header, a build script
    #[value(name = "c++")]
    Cpp,
}

/// Why there is no new plugin.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// Its name cannot be one.
    #[error("'{0}' cannot be the name of a plugin; expected small letters, digits and '-', a letter first, e.g. my-loss")]
    Name(String),
    /// The name is taken.
    #[error("{}: is there already; choose another name, or --output", .0.display())]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// A file's place and content, in which `{{…}}` is filled in.
type Template = (&'static str, &'static str);

const RUST: &[Template] = &[
    ("Cargo.toml", include_str!("../../templates/rust/Cargo.toml")),
    ("src/lib.rs", include_str!("../../templates/rust/src/lib.rs")),
    ("tests/check.rs", include_str!("../../templates/rust/tests/check.rs")),
    ("README.md", include_str!("../../templates/rust/README.md")),
    (".gitignore", include_str!("../../templates/rust/gitignore")),
];

const CPP: &[Template] = &[
    ("plugin.cpp", include_str!("../../templates/c++/plugin.cpp")),
    ("trainer_plugin.h", include_str!("../../../plugin-api/include/trainer_plugin.h")),
    ("build.sh", include_str!("../../templates/c++/build.sh")),
    ("README.md", include_str!("../../templates/c++/README.md")),
];

/// Writes plugin `name` to a new folder of that name in `output`, and returns the folder. `plugin_api` is the path or the version of the
/// crate that a Rust plugin depends on.
pub fn create(name: &str, language: Language, plugin_api: &str, output: &Path) -> Result<PathBuf, TemplateError> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(good) || name.ends_with('-') {
        return Err(TemplateError::Name(name.to_owned()));
    }
    let folder = output.join(name);
    if folder.exists() {
        return Err(TemplateError::Exists(folder));
    }
    // All of it or nothing: the folder gets its name at the end.
    let unfinished = output.join(format!(".{name}.new"));
    let written = fill(&unfinished, name, language, plugin_api).and_then(|()| std::fs::rename(&unfinished, &folder).map_err(io(&folder)));
    if written.is_err() {
        // There is nothing to say of what can be neither written nor removed.
        let _ = std::fs::remove_dir_all(&unfinished);
    }
    written.map(|()| folder)
}

/// Writes all files to `folder`.
fn fill(folder: &Path, name: &str, language: Language, plugin_api: &str) -> Result<(), TemplateError> {
    let dependency = match plugin_api.contains('/') {
        true => format!("{{ path = {plugin_api:?} }}"),
        false => format!("{plugin_api:?}"),
    };
    for (place, content) in if language == Language::Rust { RUST } else { CPP } {
        let path = folder.join(place);
        let parent = path.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent).map_err(io(parent))?;
        let filled = content.replace("{{name}}", name).replace("{{library}}", &library_file(name)).replace("{{plugin_api}}", &dependency);
        std::fs::write(&path, filled).map_err(io(&path))?;
        if place.ends_with(".sh") {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).map_err(io(&path))?;
        }
    }
    Ok(())
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> TemplateError {
    let path = path.to_owned();
    move |error| TemplateError::Io { path, error }
}

/// The plugin-api that a new Rust plugin depends on: the one that this program was built beside, where it is still there, else its version.
pub fn plugin_api() -> String {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("plugin-api");
    if beside.join("Cargo.toml").is_file() { beside.display().to_string() } else { API_VERSION.to_owned() }
}
