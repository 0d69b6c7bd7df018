//! Prediction: a preprocessed image in, files in the geometry of the raw image out.
//!
//! A [`Predictor`] takes [`Preprocessed`] cases, one or many: `sliding_window` covers the image with `tiles`, runs every `fold` on each (and
//! on its mirror images), and averages the outputs with the weights of `gaussian`: all outputs at once, each by its kind. Its `export`
//! resamples an output's logits to the raw spacing, turns them into predictions, and pastes these into the raw image's frame.
//! [`predict_files`] feeds it with the image files that [`find_cases`] found and writes files in a [`Layout`]; [`validate`] feeds it with
//! the validation cases of a fold, and measures the result.
//!
//! Logits are resampled before they are activated, as nnU-Net does: probabilities would give other borders.

mod cases;
mod export;
mod fold;
mod folder;
mod gather;
mod gaussian;
mod inputs;
mod layout;
mod npz;
mod pickled;
mod predictor;
mod sliding_window;
mod tiles;
mod validate;

pub use crate::kinds::{Exported, Extras, Prediction};
pub use cases::{BadCase, CaseFiles, find_cases};
pub use export::Exporter;
pub use fold::Fold;
pub use folder::{Done, predict_files};
pub use gather::gather;
pub use inputs::{Inputs, Preprocessed};
pub use layout::Layout;
pub use predictor::{Predicted, Predictor, Run};
pub use sliding_window::{Window, sliding_window};
pub use validate::{Validation, validate};

use data::parallel::Panicked;
use std::path::PathBuf;

/// Prediction failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libtorch or the plugin failed.
    #[error("case {case}: {source}")]
    Network {
        /// Which image.
        case: String,
        /// Why.
        source: crate::model::Error,
    },
    /// The same, of a case that the caller names.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// A case of the store cannot be read.
    #[error(transparent)]
    Preprocess(Box<data::preprocess::Error>),
    /// The program has a fault.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// A slice for a network of volumes.
    #[error("{} has two dimensions, but the model takes volumes; predict it with a model of configuration 2d", path.display())]
    Planar {
        /// The image.
        path: PathBuf,
    },
    /// The case has the name of a file that is always there.
    #[error("would be written to {}, which is the run's own file; rename the case", path.display())]
    OwnFile {
        /// The file.
        path: PathBuf,
    },
    /// Image and prediction have the same name.
    #[error("its prediction would replace its image {}; give another --output", path.display())]
    ReplacesImage {
        /// The image.
        path: PathBuf,
    },
    /// Every validation case was left out, for reasons that were said.
    #[error("none of the {cases} validation cases could be predicted; why is said above, case by case")]
    NothingValidated {
        /// How many there are.
        cases: usize,
    },
    /// An image cannot be read, a prediction cannot be written.
    #[error(transparent)]
    Io(#[from] imaging::io::Error),
    /// Prediction and reference do not fit.
    #[error(transparent)]
    Evaluate(#[from] data::measure::Error),
    /// A class prediction cannot be written.
    #[error("{}: {reason}", path.display())]
    Target {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl From<data::preprocess::Error> for Error {
    fn from(error: data::preprocess::Error) -> Self {
        Self::Preprocess(Box::new(error))
    }
}
