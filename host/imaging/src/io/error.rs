//! What can be wrong with a file.

use std::path::{Path, PathBuf};

use crate::plain::plain;

use super::source::Problem;
use super::voxels::Scaling;
use super::{Reader, endings};

/// Why a file could not be read or written. Every message is one line and names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system, or the decompressor, gave up.
    #[error("cannot read {path}: {cause}; check that the file exists, is readable and was copied completely")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The system gave up.
    #[error("cannot write {path}: {cause}; check that the folder is writable and the disk is not full")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The file's content is not what its format asks for.
    #[error("{path} {found}; {advice}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is in the file.
        found: String,
        /// What was expected, or what to do.
        advice: &'static str,
    },
    /// The file is sound, but the reader that all files of its kind are read by does not open such.
    #[error("{path} {found}, which {reader}, nnU-Net's reader of these files, does not open; convert it", reader = .reader.name())]
    NotOpened {
        /// The file.
        path: PathBuf,
        /// The reader.
        reader: Reader,
        /// What is in the file.
        found: String,
    },
    /// The format cannot hold it.
    #[error("cannot write {path}: {found}; {advice}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the format cannot hold.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// No format has this ending.
    #[error("{path} has none of the known file endings {known}; convert it to one of them", known = endings().collect::<Vec<_>>().join(", "))]
    UnknownEnding {
        /// The file.
        path: PathBuf,
    },
    /// A label map holds something that is no label.
    #[error("{path} holds the value {value}{}, and labels must be integers from -32768 to 32767; {}", scaled(.scaling), label_advice(.scaling))]
    NotALabel {
        /// The file.
        path: PathBuf,
        /// The first such value.
        value: f64,
        /// Slope and intercept that the file's integers are scaled by, if they are.
        scaling: Option<(f64, f64)>,
    },
    /// A label map has several channels.
    #[error("{path} has {channels} channels, and a label map has one; split the file")]
    LabelChannels {
        /// The file.
        path: PathBuf,
        /// How many it has.
        channels: usize,
    },
    /// The volume is larger than the program's limit.
    #[error(
        "{path} has {shape:?} voxels (c, z, y, x), more than the {most} that an image may have; is its header damaged? --max-voxels raises the limit"
    )]
    TooManyVoxels {
        /// The file.
        path: PathBuf,
        /// (C, Z, Y, X).
        shape: [usize; 4],
        /// The limit.
        most: u64,
    },
    /// The volume is too large for the format.
    #[error("cannot write {path}: the format holds at most {limit} voxels along an axis and the volume has shape {shape:?} (c, z, y, x)")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// (C, Z, Y, X).
        shape: [usize; 4],
        /// Voxels along an axis.
        limit: usize,
    },
}

impl Error {
    pub(super) fn content(path: &Path, (found, advice): Problem) -> Self {
        Self::Content { path: path.to_owned(), found: plain(&found).into_owned(), advice }
    }

    pub(super) fn not_opened(path: &Path, reader: Reader, found: String) -> Self {
        Self::NotOpened { path: path.to_owned(), reader, found }
    }

    pub(super) fn not_a_label(path: &Path, value: f64, scaling: Scaling) -> Self {
        let scaling = match scaling {
            Scaling::None => None,
            Scaling::Linear(slope, intercept) | Scaling::LinearOfF32(slope, intercept) => Some((slope, intercept)),
        };
        Self::NotALabel { path: path.to_owned(), value, scaling }
    }

    pub(super) fn unwritable(path: &Path, found: String, advice: &'static str) -> Self {
        Self::Unwritable { path: path.to_owned(), found, advice }
    }
}

fn scaled(scaling: &Option<(f64, f64)>) -> String {
    let text = |(slope, intercept)| format!(" after scaling (scl_slope {slope}, scl_inter {intercept})");
    scaling.map_or_else(String::new, text)
}

fn label_advice(scaling: &Option<(f64, f64)>) -> &'static str {
    match scaling {
        Some(_) => "save the label map as integers, with scl_slope 1 and scl_inter 0",
        None => "was an image given in place of a label map?",
    }
}
