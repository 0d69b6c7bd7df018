//! What a plugin must be built against to be loaded here.

use super::template::plugin_api;
use gate::shell::quoted;
use plugin_api::manifest::{API_VERSION, LIBTORCH};
use std::path::{Path, PathBuf};

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum BuildVariablesError {
    /// Nothing says where libtorch is.
    #[error("cannot tell where libtorch is: {0}")]
    NotFound(String),
    /// It has no headers.
    #[error("{}: this libtorch has no headers ({header}); plugins are built against the whole of libtorch {LIBTORCH}", folder.display())]
    NoHeaders {
        /// Its folder.
        folder: PathBuf,
        /// One of those that are missing.
        header: &'static str,
    },
}

/// Assignments that a POSIX shell evaluates: `eval "$(host plugin env)"`.
pub fn build_variables(host: &Path) -> Result<String, BuildVariablesError> {
    const HEADER: &str = "include/torch/headeronly/version.h";
    let library = loaded_libtorch()?;
    let folder = library.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned();
    if !folder.join(HEADER).is_file() {
        return Err(BuildVariablesError::NoHeaders { folder, header: HEADER });
    }
    let lib = quoted(folder.join("lib"));
    let set = |name: &str, value: &str| format!("export {name}={}\n", quoted(value));
    Ok([
        set("LIBTORCH", &folder.display().to_string()),
        set("LIBTORCH_VERSION", LIBTORCH),
        format!("export LD_LIBRARY_PATH={lib}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}\n"),
        set("TRAINER_PLUGIN_API", &plugin_api()),
        set("TRAINER_PLUGIN_API_VERSION", API_VERSION),
        set("TRAINER_HOST", &host.display().to_string()),
    ]
    .concat())
}

/// The file that this very process has loaded.
fn loaded_libtorch() -> Result<PathBuf, BuildVariablesError> {
    const NAME: &str = "/libtorch_cpu.so";
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|e| BuildVariablesError::NotFound(e.to_string()))?;
    let found = maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..])).find(|path| path.ends_with(NAME));
    found.map(PathBuf::from).ok_or_else(|| BuildVariablesError::NotFound(format!("{NAME} is not loaded")))
}
