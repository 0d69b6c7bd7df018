//! Why a data set cannot be prepared, or a prepared case not be read.

use std::path::PathBuf;

use crate::{dataset, fingerprint, plan};
use imaging::normalise;

/// Why data cannot be prepared or read back.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data set or one of its files is broken.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// A fault of the program.
    #[error(transparent)]
    Panicked(#[from] crate::parallel::Panicked),
    /// The plans are broken.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// The fingerprint is broken.
    #[error(transparent)]
    Fingerprint(#[from] fingerprint::Error),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] imaging::io::Error),
    /// A channel cannot be normalised.
    #[error("{}: channel {channel}: {source}", .path.display())]
    Normalise {
        /// The (first) image file.
        path: PathBuf,
        /// Number of the channel.
        channel: usize,
        /// Why.
        source: normalise::Error,
    },
    /// An image has other channels than the model that it is for.
    #[error("{}: found {found} channels, expected {expected}, which the model was trained on; give it those, in their order", .path.display())]
    ModelChannels {
        /// The (first) image file.
        path: PathBuf,
        /// Channels in it.
        found: usize,
        /// Channels that the model takes.
        expected: usize,
    },
    /// A model's plans lack what its images are normalised by.
    #[error(
        "{}: channel {channel} is normalised by intensities of the training data, which the model's plans lack; the model is incomplete: get it \
         again, or ask whoever made it",
        .path.display()
    )]
    ModelIntensities {
        /// The (first) image file.
        path: PathBuf,
        /// Number of the channel.
        channel: usize,
    },
    /// Resampled, an image would fill any memory.
    #[error(
        "{}: its spacing of {spacing:?} mm (z y x) makes {shape:?} voxels at {planned:?} mm, more than the {most} that an image may have, all \
         channels together; is the spacing in its header wrong? --max-voxels raises the limit",
        .path.display()
    )]
    TooLarge {
        /// The (first) image file.
        path: PathBuf,
        /// Its spacing in mm, in transposed axes.
        spacing: [f64; 3],
        /// That of the plans.
        planned: [f64; 3],
        /// The shape that it would have.
        shape: [usize; 3],
        /// The limit.
        most: u64,
    },
    /// A plans file has other channels than the data set.
    #[error("the plans normalise {found} channels, expected {expected} as dataset.json names; plan anew")]
    Channels {
        /// Channels in the plans.
        found: usize,
        /// Channels in `dataset.json`.
        expected: usize,
    },
    /// Cases that keep their spacings cannot be measured in millimetres at the one that the plans name.
    #[error(
        "configuration {configuration} leaves cases at their own spacings (no_resampling_hack), but target {target} is measured in mm at the \
         spacing of the plans; use plans that resample, or train without {target}"
    )]
    Millimetres {
        /// The configuration.
        configuration: String,
        /// The target.
        target: String,
    },
    /// No planner has plans of that name, and no file is there.
    #[error("{}: not found; {hint}; plan under a name of your own with host plan --plans", .path.display())]
    UnknownPlans {
        /// The file.
        path: PathBuf,
        /// The nearest name.
        hint: String,
    },
    /// A file of another store lies where one of this store is expected.
    #[error(
        "{}: was made by other plans or labels than these; another program has replaced it, or it was copied here: remove it and start again",
        .path.display()
    )]
    OtherStore {
        /// The file.
        path: PathBuf,
    },
    /// Another program uses what would be replaced.
    #[error(
        "{}: has to be made anew (files of the case have changed, its own file is damaged, or --overwrite says so), but another program uses its \
         store; wait until that program has ended",
        .path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Another program replaces cases of a store.
    #[error("{}: another program is replacing cases in it; try again when that program has ended", .path.display())]
    Replacing {
        /// The folder of the store.
        path: PathBuf,
    },
    /// Nobody can say that no other program works in the folder.
    #[error("{}: cannot be locked, and without a lock nothing is removed; see that the folder, and preparing.lock in it, can be written", .path.display())]
    NotAlone {
        /// The folder.
        path: PathBuf,
    },
    /// A folder of the store cannot be read, or a file of it removed.
    #[error("{}: cannot be accessed ({source}); check that it exists and may be read and replaced", .path.display())]
    Access {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of the store cannot be read, or is damaged.
    #[error(transparent)]
    Read(#[from] imaging::zarr::Error),
    /// A file of the store holds something else than a case.
    #[error("{}: is no preprocessed case ({found}), expected {expected}; remove it to have it made anew", .path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
    },
}

impl Error {
    /// The same to somebody who predicts with a model that others may have made, and who has neither its data nor a reason to plan.
    pub(super) fn of_prediction(self) -> Self {
        match self {
            Self::Dataset(dataset::Error::ChannelCount { path, found, expected }) => Self::ModelChannels { path, found, expected },
            Self::Normalise { path, channel, source: normalise::Error::PropertiesMissing } => Self::ModelIntensities { path, channel },
            other => other,
        }
    }
}
