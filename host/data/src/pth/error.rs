//! What can be wrong with a file.

use std::io;
use std::path::PathBuf;

/// Why a file could not be read. The message is one line and names the file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .path.display())]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file, or with what should become one.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system gave up.
    #[error("cannot be read ({0}); check that it exists and may be read, and that nothing overwrites it meanwhile")]
    Read(#[from] io::Error),
    /// The pickle asks for something that is not on the list.
    #[error("its pickle asks for {0}, which could run anything; only tensors, numbers, text and containers are read")]
    Forbidden(String),
    /// The format of PyTorch 1.5 and before.
    #[error("has the format of PyTorch before 1.6, expected a ZIP file; open it in Python and save it again with torch.save")]
    Legacy,
    /// A model with its code.
    #[error("is a TorchScript archive, expected a file of torch.save; in Python save the module's state_dict() with torch.save")]
    TorchScript,
    /// The numbers are not those that were written.
    #[error("{entry} does not match its checksum, so the file is damaged; copy it again from its source, or save it again")]
    Checksum {
        /// A file in the ZIP file.
        entry: String,
    },
    /// More than a sensible file has.
    #[error("{what} are more than {limit}, expected a checkpoint; if it is one, save less of it with torch.save")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many are read.
        limit: u64,
    },
    /// Anything else.
    #[error("found {found}, expected {expected}; check that the file was copied completely, or save it again with torch.save")]
    Unexpected {
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// A file cannot hold it.
    #[error("cannot write {found}, expected {expected}")]
    Unwritable {
        /// What was given.
        found: String,
        /// What can be written.
        expected: &'static str,
    },
}

/// [`Problem::Unexpected`].
pub(super) fn unexpected(found: impl Into<String>, expected: impl Into<String>) -> Problem {
    Problem::Unexpected { found: found.into(), expected: expected.into() }
}

/// The beginning of untrusted text, on one line.
pub(super) fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    format!("{}{}", short.escape_debug(), if short.len() < text.len() { "…" } else { "" })
}
