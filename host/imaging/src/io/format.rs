//! What a format of files is: all that the rest asks of one, and which one a file has.

use super::reader::Purpose;
use super::values::Values;
use super::voxels::Stored;
use super::{Error, FORMATS, Geometry, Reader};
use std::path::{Path, PathBuf};

/// All that the rest asks of a format.
pub(super) struct Format {
    /// For messages.
    pub name: &'static str,
    /// In lower case; with the readers of such a file in the order in which nnU-Net tries them, and then those that can, but that nnU-Net does not
    /// try for its ending.
    pub endings: &'static [(&'static str, &'static [Reader])],
    /// Opens a file as a reader does; none where that one does not read this format.
    pub open: fn(&Path, Reader, Purpose) -> Option<Result<Stored<'static>, Error>>,
    /// Writes a file.
    pub write: fn(&Path, Values, &Geometry) -> Result<(), Error>,
    /// The further file that is written beside one, with its voxels or its spacing.
    pub beside: fn(&Path, &Geometry) -> Option<PathBuf>,
}

/// The endings of the files that can be read and written, in lower case. Case does not matter in a file's name.
pub fn endings() -> impl Iterator<Item = &'static str> + Clone {
    FORMATS.iter().flat_map(|format| format.endings).map(|(ending, _)| *ending)
}

/// The format of a file by its ending, and the readers of such files.
pub(super) fn format_of(path: &Path) -> Result<(&'static Format, &'static [Reader]), Error> {
    let all = FORMATS.iter().flat_map(|format| format.endings.iter().map(move |(ending, readers)| (*format, *ending, *readers)));
    let found = all.into_iter().find(|(_, ending, _)| ends_with(path, ending));
    found.map(|(format, _, readers)| (format, readers)).ok_or_else(|| Error::UnknownEnding { path: path.to_owned() })
}

/// Whether a file's name ends with `ending`, which is in lower case.
pub(super) fn ends_with(path: &Path, ending: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().to_lowercase().ends_with(ending))
}
