//! What can be wrong with a raw data set, each with the file and the remedy.

use crate::name::SEGMENTATION;
use crate::parallel::Panicked;
use imaging::io::{JsonError, Reader};
use std::path::{Path, PathBuf};

/// What can be wrong with a data set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A specification means no folder.
    #[error("data set {spec:?} not found: {searched}; {hint}")]
    NotFound {
        /// What was asked for.
        spec: String,
        /// Where it was looked for.
        searched: String,
        /// What to do.
        hint: String,
    },
    /// A specification means several folders.
    #[error("data set {spec:?} is ambiguous: it could be {}; give the path of the one you mean", .found.join(" or "))]
    Ambiguous {
        /// What was asked for.
        spec: String,
        /// The folders it could mean.
        found: Vec<String>,
    },
    /// A file or folder cannot be read.
    #[error("{}: cannot be read ({source}); check that it exists and may be read", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// An image cannot be read, or a file not written.
    #[error(transparent)]
    Io(#[from] imaging::io::Error),
    /// The reader of the data set does not open a file of it.
    #[error(
        "{} {found}, which {}, by which this data set is read, does not open (case {case}); convert it, or name a reader that opens every case as \
         \"overwrite_image_reader_writer\" in dataset.json and plan anew",
        .path.display(), .reader.name()
    )]
    NotOpened {
        /// The case.
        case: String,
        /// The file.
        path: PathBuf,
        /// The reader.
        reader: Reader,
        /// What is in the file.
        found: String,
    },
    /// A file is not JSON of the form that it should have.
    #[error("{}: {source}; correct it or take it away", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: JsonError,
    },
    /// An entry of a JSON file breaks a rule.
    #[error("{}: {entry} is {found}; expected {expected}", .path.display())]
    Entry {
        /// The JSON file.
        path: PathBuf,
        /// Which entry, as in `targets.whole.kind`.
        entry: String,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
    /// An entry has a name that means nothing.
    #[error("{}: {entry} is unknown; {hint}", .path.display())]
    Unknown {
        /// The JSON file.
        path: PathBuf,
        /// Which entry.
        entry: String,
        /// The nearest valid name, or all of them.
        hint: String,
    },
    /// An image file whose name has no channel number.
    #[error("{}: file name without a channel number; expected <case>_0000{ending}, <case>_0001{ending}, …: rename or move the file", .path.display())]
    Unnumbered {
        /// The file.
        path: PathBuf,
        /// Ending that `dataset.json` gives.
        ending: String,
    },
    /// A case has other channels than `dataset.json` names.
    #[error("case {case}: found {found} of the channels in {}, expected {expected} as dataset.json's channel_names say; {remedy}", .folder.display())]
    Channels {
        /// The case.
        case: String,
        /// Folder of the images.
        folder: PathBuf,
        /// Channel numbers there.
        found: String,
        /// Channel numbers expected.
        expected: String,
        /// What to do.
        remedy: String,
    },
    /// A case lacks the file of a target.
    #[error("{}: not found, expected as target {target:?} of case {case}; add the file{}", .path.display(), optional_hint(.target))]
    MissingTarget {
        /// The case.
        case: String,
        /// The target.
        target: String,
        /// The file that should be there.
        path: PathBuf,
    },
    /// A case lacks its entry in a class file.
    #[error("{}: no entry for case {case}, expected one of {expected} for target {target:?}; add it, or set \"optional\": true on that target in dataset.json", .path.display())]
    MissingClass {
        /// The case.
        case: String,
        /// The target.
        target: String,
        /// The class file.
        path: PathBuf,
        /// The classes.
        expected: String,
    },
    /// The files of a case hold another number of channels than they should.
    #[error("{}: found {found} channels, expected {expected} as dataset.json says; correct the file or dataset.json", .path.display())]
    ChannelCount {
        /// The file (the first one where there are several).
        path: PathBuf,
        /// Channels in it.
        found: usize,
        /// Channels expected.
        expected: usize,
    },
    /// Two files of one case differ in shape.
    #[error("{}: shape {found:?} (z, y, x), expected {expected:?} as {} has; both must lie on the same voxels: correct one of them", .path.display(), .reference.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Its shape.
        found: [usize; 3],
        /// The file it has to match.
        reference: PathBuf,
        /// The shape of that one.
        expected: [usize; 3],
    },
    /// Two files of one case differ in spacing.
    #[error("{}: spacing {found:?} mm (z, y, x), expected {expected:?} as {} has; both must lie on the same voxels: correct one of them", .path.display(), .reference.display())]
    Spacing {
        /// The file.
        path: PathBuf,
        /// Its spacing.
        found: [f64; 3],
        /// The file it has to match.
        reference: PathBuf,
        /// The spacing of that one.
        expected: [f64; 3],
    },
    /// An image or regression target has a voxel that is no number.
    #[error("{}: {found} at voxel {voxel:?} (channel, z, y, x), expected finite numbers only; replace it by a number that makes sense there", .path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// NaN or infinity.
        found: f32,
        /// Where, the first of them.
        voxel: [usize; 4],
    },
    /// A channel is not what its name in `dataset.json` says.
    #[error("{}: channel {channel} ({name}): {source}", .path.display())]
    Intensities {
        /// The (first) image file.
        path: PathBuf,
        /// Number of the channel.
        channel: usize,
        /// What `dataset.json` calls it.
        name: String,
        /// Why.
        source: imaging::normalise::Error,
    },
    /// A label map has a value that `dataset.json` does not name.
    #[error("{}: label value {value} is not named in dataset.json, expected {expected}; {}", .path.display(), unnamed_advice(*.value))]
    UnnamedLabel {
        /// The label map.
        path: PathBuf,
        /// The value.
        value: i16,
        /// What is named.
        expected: String,
    },
    /// `numTraining` is not the number of cases.
    #[error("{}: found {found} training cases, expected {expected} as dataset.json's numTraining says; correct numTraining or complete the folder", .path.display())]
    CaseCount {
        /// Where the cases were looked for.
        path: PathBuf,
        /// Cases there.
        found: usize,
        /// What `dataset.json` says.
        expected: usize,
    },
    /// Too few cases for a cross-validation.
    #[error("found {found} cases, expected at least 5 for a five-fold split; use fold \"all\" or write {} yourself", .path.display())]
    TooFewCases {
        /// Number of cases.
        found: usize,
        /// Where a split of the user's own would be.
        path: PathBuf,
    },
    /// A fold that is neither a number nor `all`.
    #[error("fold {found:?} is unknown; expected a number (0, 1, …) or \"all\"")]
    Fold {
        /// What was given.
        found: String,
    },
    /// Two split files contradict each other.
    #[error("{}: fold {fold} differs from the one in {}; take one of the two files away", .preprocessed.display(), .raw.display())]
    SplitsDiffer {
        /// File beside the raw data.
        raw: PathBuf,
        /// File beside the preprocessed data.
        preprocessed: PathBuf,
        /// First fold that differs.
        fold: usize,
    },
    /// A split names a case that the data set does not have.
    #[error("{}: fold {fold} names case {case:?}, which the data set does not have; correct the file or remove it to get the default split", .path.display())]
    SplitCase {
        /// The split file.
        path: PathBuf,
        /// The fold.
        fold: usize,
        /// The case it names.
        case: String,
    },
    /// A fault of the program.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl Error {
    /// The same, with the case that it is of where that helps.
    pub fn of_case(case: &str, error: Self) -> Self {
        match error {
            Self::Io(imaging::io::Error::NotOpened { path, reader, found }) => {
                Self::NotOpened { case: case.to_owned(), path, reader, found }
            }
            other => other,
        }
    }

    /// A JSON file at `path` that cannot be read.
    pub(crate) fn json(path: &Path, error: JsonError) -> Self {
        let path = path.to_path_buf();
        match error {
            JsonError::Read(source) => Self::Read { path, source },
            source => Self::Json { path, source },
        }
    }
}

/// What to do about a label value that has no name. Masks of 0 and 255 are what image editors make.
pub(crate) fn unnamed_advice(value: i16) -> &'static str {
    if value == 255 {
        "write 1 for 255 if the file is a mask of 0 and 255; else name the value"
    } else {
        "correct the file or name the value"
    }
}

/// `labelsTr` cannot be declared optional, every other target can.
fn optional_hint(target: &str) -> &'static str {
    if target == SEGMENTATION { "" } else { ", or set \"optional\": true on that target in dataset.json" }
}
