//! Prediction: a preprocessed image in, files in the geometry of the raw image out.
//!
//! [`find_inputs`] groups image files into cases, and [`Cases`] takes one after another through the rest: [`sliding_window`] covers the
//! image with `tiles`, runs the model on each (and on its mirror images), and averages the outputs with the weights of `gaussian`: all
//! outputs at once, each by its kind. An [`Exporter`] resamples an output's logits to the raw spacing, turns them into predictions, and
//! pastes these into the raw image's frame. [`validate`] does the same for the validation cases of a fold and measures the result.
//!
//! Logits are resampled before they are activated, as nnU-Net does: probabilities would give other borders.

mod cases;
mod export;
mod gather;
mod gaussian;
mod inputs;
mod layout;
mod npz;
mod pickled;
mod tiles;
mod validate;
mod window;

pub use cases::{Cases, Done};
pub use export::{Exported, Exporter, Extras, Prediction, vector_outputs, write};
pub use gather::gather;
pub use inputs::{BadInput, Input, find_inputs};
pub use layout::Layout;
pub use validate::{Validation, validate};
pub use window::{Window, sliding_window};

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
    /// The same, at what concerns all cases.
    #[error(transparent)]
    Model(#[from] crate::model::Error),
    /// A case of the store cannot be read.
    #[error(transparent)]
    Preprocess(Box<data::preprocess::Error>),
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
    Evaluate(#[from] data::evaluate::Error),
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
