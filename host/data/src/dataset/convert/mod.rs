//! `host dataset convert`: data sets of other formats, brought to nnU-Net's.
//!
//! A converter reads the foreign description, writes the whole data set into a hidden folder beside its final place, and renames that
//! folder when everything is there. Nothing that exists is touched, and a conversion that is stopped leaves nothing under the final
//! name.

mod error;
mod msd;

use std::path::{Path, PathBuf};

pub use error::Error;
pub use msd::from_msd;

use super::resolve;
use crate::scratch::Folders;

/// What a conversion came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The new data set.
    pub folder: PathBuf,
    /// Number of training cases.
    pub cases: usize,
    /// Number of test cases.
    pub test_cases: usize,
    /// Files of the source that are no part of the new data set, such as those that file managers leave behind.
    pub left_out: Vec<PathBuf>,
}

/// Makes `<raw_root>/Dataset<id>_<name>`: `write` fills a folder that gets this name when it is complete.
fn write_dataset(
    raw_root: &Path,
    id: u16,
    name: &str,
    folders: &Folders,
    write: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<PathBuf, Error> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| Error::Write { path, source }
    };
    std::fs::create_dir_all(raw_root).map_err(failed(raw_root))?;
    for entry in std::fs::read_dir(raw_root).map_err(failed(raw_root))? {
        let entry = entry.map_err(failed(raw_root))?;
        if resolve::id_of(&entry.file_name().to_string_lossy()) == Some(id.into()) {
            return Err(Error::Taken { id, existing: entry.path() });
        }
    }
    let folder = raw_root.join(format!("Dataset{id:03}_{name}"));
    let unfinished = folders.beside(&folder, ".converting-").map_err(failed(raw_root))?;
    write(unfinished.path())?;
    // Refused by the system when somebody has made a data set of this name meanwhile.
    unfinished.rename(&folder).map_err(failed(&folder))?;
    Ok(folder)
}
