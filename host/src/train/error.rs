//! Why a training cannot go on.

use crate::artifact::CheckpointError;
use crate::report::LogError;
use crate::{loading, model, network, plugin, shim};

/// Training cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A loader worker failed.
    #[error(transparent)]
    Loading(#[from] loading::Error),
    /// The model failed, or its gradients; of a step, [`Error::Step`] says which.
    #[error(transparent)]
    Model(#[from] StepError),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The logs cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// One of several arms failed.
    #[error("arm {name}: {source}")]
    Arm {
        /// Which.
        name: String,
        /// Why.
        source: Box<Error>,
    },
    /// Predictions will not be those of what was trained.
    #[error(
        "plugin {plugin}: a new trainer with the same weights, as prediction makes it, does not predict what the one that was trained does: {difference}. \
         Prediction has parameters and buffers, and what `new` makes of task and options, nothing else: neither what `new` draws by a generator of its own, \
         nor fields that training changes, nor save_state"
    )]
    NotReproduced {
        /// Id and version.
        plugin: String,
        /// In what they differ.
        difference: String,
    },
    /// An epoch in which nothing was trained.
    #[error(
        "plugin {plugin}: loss gave no term in any of the {steps} steps of epoch {epoch}, although their cases had the targets of its outputs: nothing was \
         trained; a misspelt name of a target, or a term that is only added on a condition, does that"
    )]
    NoTerms {
        /// Id and version.
        plugin: String,
        /// Which.
        epoch: u64,
        /// How many.
        steps: u64,
    },
    /// A step failed.
    #[error("{source} (epoch {epoch}, iteration {iteration}, cases {cases}); checkpoints from before are kept")]
    Step {
        /// Where.
        epoch: u64,
        /// Where.
        iteration: u64,
        /// The batch's cases.
        cases: String,
        /// Why.
        source: StepError,
    },
}

/// A step cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// libtorch or the plugin failed.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A step would ruin every weight.
    #[error("gradients are NaN or infinite, first that of '{0}'; try a smaller loss weight or learning rate, or --precision fp32")]
    Gradients(String),
    /// A term that trains nothing.
    #[error(
        "term '{0}' has a weight but no gradient: it was computed under no_grad or from detached tensors; give it weight 0 to only log it"
    )]
    NoGradient(String),
    /// Terms cannot be weighted as asked for.
    #[error("--weighting: {0}")]
    Weighting(String),
}

impl StepError {
    /// Whether numbers ran out of range, rather than anything being wrong with the call.
    pub fn is_nonfinite(&self) -> bool {
        match self {
            Self::Gradients(_) => true,
            Self::Model(error) => error.is_nonfinite(),
            _ => false,
        }
    }
}

impl From<network::Error> for StepError {
    fn from(error: network::Error) -> Self {
        Self::Model(error.into())
    }
}

impl From<plugin::CallError> for StepError {
    fn from(error: plugin::CallError) -> Self {
        Self::Model(error.into())
    }
}

impl From<shim::Error> for StepError {
    fn from(error: shim::Error) -> Self {
        Self::Model(error.into())
    }
}

impl From<tch::TchError> for StepError {
    fn from(error: tch::TchError) -> Self {
        Self::Model(error.into())
    }
}
