//! Why a model cannot be opened, built or saved.

use super::identity::{Difference, tell};
use crate::model;
use data::{dataset, plan, pth};
use gate::LoadError;
use gate::search::SearchError;
use std::path::{Path, PathBuf};

/// A model cannot be opened or built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No model.
    #[error(
        "{}: {reason}; a model folder has plans.json, dataset.json, and fold_0/checkpoint_final.safetensors (ours) or .pth (nnU-Net's)",
        path.display()
    )]
    NoModel {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A file that is not what it should be.
    #[error("{}: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Folds that do not belong together.
    #[error("{} and {} differ in {what}; predict with folds of one model", first.display(), second.display())]
    Folds {
        /// A checkpoint.
        first: PathBuf,
        /// Another one.
        second: PathBuf,
        /// What is not the same.
        what: &'static str,
    },
    /// Its `dataset.json`.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// Its plans.
    #[error(transparent)]
    Plans(#[from] plan::Error),
    /// A checkpoint of ours.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint of nnU-Net's.
    #[error(transparent)]
    Pth(#[from] pth::Error),
    /// The plugin is not there.
    #[error(transparent)]
    Search(#[from] SearchError),
    /// The plugin is refused.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The network cannot be built or run.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A file cannot be written.
    #[error(transparent)]
    Io(#[from] imaging::io::Error),
}

/// A checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refuses.
    #[error("checkpoint {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Writing failed; what was there before is still there.
    #[error("checkpoint was not written, the previous one is kept: {0}")]
    Write(#[from] imaging::io::Error),
    /// Not a checkpoint, or a damaged one.
    #[error("checkpoint {}: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It belongs to another run.
    #[error("checkpoint {}: {}; give the same, take it as it is (--resume-anyway), or start anew (--overwrite)", path.display(), tell(differences))]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs, at least one.
        differences: Vec<Difference>,
    },
    /// libtorch or the plugin.
    #[error(transparent)]
    Model(#[from] model::Error),
}

impl From<tch::TchError> for CheckpointError {
    fn from(error: tch::TchError) -> Self {
        Self::Model(error.into())
    }
}

/// What to do about a model whose files are not what they should be: whoever downloaded it cannot plan or train it anew.
const GET_AGAIN: &str = "the model is damaged or was edited: get it again, or ask whoever made it";

impl Error {
    /// What is wrong with the plans of the model whose file is `path`.
    pub(super) fn of_plans(path: &Path, error: plan::Error) -> Self {
        let broken = |reason: String| Self::Broken { path: path.to_owned(), reason: format!("{reason}; {GET_AGAIN}") };
        match error {
            plan::Error::Json { source, .. } => broken(format!("is no plans file ({source})")),
            plan::Error::Configuration { name, source } => broken(format!("configuration {name:?} of its plans: {source}")),
            other => other.into(),
        }
    }

    pub(super) fn of_description(error: dataset::Error) -> Self {
        match error {
            dataset::Error::Json { path, source } => Self::Broken { path, reason: format!("{source}; {GET_AGAIN}") },
            other => other.into(),
        }
    }
}
