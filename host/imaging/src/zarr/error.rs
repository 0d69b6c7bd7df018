//! Why a Zarr file cannot be read.

use std::io;
use std::path::PathBuf;

/// Why arrays cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("{}: cannot be read ({cause}); check that it exists and may be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: io::Error,
    },
    /// The file is not what [`super::write`] writes.
    #[error("{}: is damaged ({found}), expected {expected}; remove it to have it made anew", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
}
