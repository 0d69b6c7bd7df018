//! What keeps a data set from being converted.

use std::path::PathBuf;

/// Why a data set cannot be converted. Every message is one line and names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The description is not what the format asks for, or makes no data set that can be used.
    #[error(transparent)]
    Description(#[from] crate::dataset::Error),
    /// A fault of the program.
    #[error(transparent)]
    Panicked(#[from] crate::parallel::Panicked),
    /// An image cannot be read or written.
    #[error(transparent)]
    Io(#[from] imaging::io::Error),
    /// The folder's name does not say which task it is.
    #[error("{}: is not named as a folder of the Decathlon; expected Task<number>_<name>, such as Task04_Hippocampus: rename it", .path.display())]
    FolderName {
        /// The folder.
        path: PathBuf,
    },
    /// The folder is in nnU-Net's format.
    #[error("{}: is in nnU-Net's format already (it has channel_names); use the folder as it is", .path.display())]
    NothingToDo {
        /// Its `dataset.json`.
        path: PathBuf,
    },
    /// A file that the description lists is not there.
    #[error("{}: not found, and {} lists it; download the data set again, or remove it from the list", .path.display(), .list.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The `dataset.json`.
        list: PathBuf,
    },
    /// The number is that of another data set.
    #[error("{}: is there already and has the id {id}; give the new data set another one with --id, or move the old one away", .existing.display())]
    Taken {
        /// The id.
        id: u16,
        /// The data set that has it.
        existing: PathBuf,
    },
    /// A file cannot be copied.
    #[error("cannot copy {} to {} ({source}); check that the one is readable and the disk of the other not full", .from.display(), .to.display())]
    Copy {
        /// Source.
        from: PathBuf,
        /// Destination.
        to: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A folder cannot be made.
    #[error("cannot write {} ({source}); check that the folder is writable and the disk is not full", .path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}
