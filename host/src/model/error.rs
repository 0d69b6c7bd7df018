//! Why a model cannot be built or run.

use crate::{network, plugin, shim};

/// A model cannot be built or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its trunk, its parameters, or libtorch.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The plugin failed.
    #[error(transparent)]
    Plugin(#[from] plugin::CallError),
}

impl Error {
    /// Whether numbers ran out of range, rather than anything being wrong with the call.
    pub fn is_nonfinite(&self) -> bool {
        matches!(self, Self::Plugin(error) if error.nonfinite)
    }

    /// Whether less at once may do.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Network(error) => error.is_out_of_memory(),
            Self::Plugin(error) => error.out_of_memory,
        }
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Network(error.into())
    }
}

impl From<shim::Error> for Error {
    fn from(error: shim::Error) -> Self {
        Self::Network(error.into())
    }
}
