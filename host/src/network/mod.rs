//! Trunks: the networks of the plan without their last layers, which are the plugin's heads.
//!
//! `parameters` owns every tensor that is trained or saved, the trunk's and the plugin's, under the names of nnU-Net's checkpoints;
//! `task` is what the plugin is told, and what it tells of its targets; `trunks` reads what the plan asks for, by nnU-Net's name of the network, and
//! `unet` is what its U-Nets have in common; `precision` is the arithmetic, and
//! `engine` what computes it.

mod engine;
mod parameters;
mod precision;
mod task;
mod trunks;
mod unet;

pub use engine::{Engine, EngineChoice, EngineName, Processor, Refused, choose};
pub use parameters::{Group, PLUGIN, Parameter, Parameters};
pub use precision::Precision;
pub use task::{all_told, made_kind, task, told};
pub use trunks::{Layers, Trunk, TrunkGraph, planned, trunk};

use crate::shim::says_out_of_memory;

/// A network cannot be built or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan asks for what is not there.
    #[error("its network cannot be built: {0}")]
    Architecture(String),
    /// A configuration of the plans does.
    #[error("configuration {name:?} of the plans: {source}")]
    Configuration {
        /// The configuration.
        name: String,
        /// Why.
        source: Box<Self>,
    },
    /// A configuration of the plans cannot be used, whatever its network.
    #[error(transparent)]
    Plans(Box<data::plan::Error>),
    /// A parameter's name is taken.
    #[error("parameter '{0}' exists already; names are unique")]
    Duplicate(String),
    /// A parameter that cannot be.
    #[error("parameter '{name}': {reason}")]
    Parameter {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A checkpoint is of another network than its plans.
    #[error("{}", match found {
        Some(found) => format!("{name} has the shape {found:?}; its plans and its plugin ask for {expected:?}"),
        None => format!("has no {name}; its plans and its plugin ask for another network"),
    })]
    Stored {
        /// The parameter.
        name: String,
        /// Its shape in the checkpoint, if it is there.
        found: Option<Vec<i64>>,
        /// What the network asks for.
        expected: Vec<i64>,
    },
    /// The CPU engine cannot compute it.
    #[error("the CPU engine cannot compute this network: {0}")]
    Engine(String),
    /// libtorch failed.
    #[error("libtorch: {}", first_line(.0))]
    Torch(#[from] tch::TchError),
    /// libtorch's modes or generators.
    #[error(transparent)]
    Shim(#[from] crate::shim::Error),
}

impl Error {
    /// Whether the device has no memory left.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Self::Torch(error) => says_out_of_memory(&error.to_string()),
            Self::Shim(error) => error.is_out_of_memory(),
            _ => false,
        }
    }
}

/// What libtorch says, without the C++ backtrace that it appends.
fn first_line(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
