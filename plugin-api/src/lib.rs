//! What a trainer plugin is written against.
//!
//! A plugin supplies the network's heads and its loss; the host owns data, augmentation and the training loop. A whole plugin:
//!
//! ```no_run
//! use plugin_api::{Base, Batch, Loss, Outputs, Params, Result, Step, Task, Trainer, export_trainer};
//!
//! #[derive(serde::Deserialize, plugin_api::JsonSchema)]
//! #[schemars(crate = "plugin_api::schemars")]
//! struct Options {
//!     /// Factor of the loss.
//!     factor: f64,
//! }
//!
//! struct Scaled {
//!     base: Base,
//!     factor: f64,
//! }
//!
//! impl Trainer for Scaled {
//!     type Options = Options;
//!
//!     fn new(task: &Task, options: Options, params: &mut Params) -> Result<Self> {
//!         Ok(Self { base: Base::single(task, params)?, factor: options.factor })
//!     }
//!
//!     fn base(&self) -> &Base {
//!         &self.base
//!     }
//!
//!     fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
//!         let mut loss = Loss::new();
//!         loss.term("scaled", self.factor, self.base.output_loss("segmentation", outputs, batch, step)?);
//!         Ok(loss)
//!     }
//! }
//!
//! export_trainer!(Scaled);
//! # fn main() {}
//! ```
//!
//! with `crate-type = ["cdylib"]` and two dependencies, `plugin-api` and `serde`. [`Trainer`] says what may be overridden;
//! [`Base`], [`heads`] and [`losses`] are what to build from. `tch` and `log` are re-exported, so that versions agree.
//!
//! Data passes through a trainer once a step: the host's trunk makes [`Features`], `forward` turns them into named [`Outputs`]
//! (each a list of deep-supervision levels, finest first), `loss` compares these with a [`Batch`] and returns named terms
//! ([`Loss`]), and the host sums, differentiates and optimises.

pub mod abi;
mod base;
pub mod conformance;
pub mod door;
mod error;
pub mod extensions;
pub mod heads;
mod level;
mod logging;
pub mod losses;
pub mod manifest;
pub mod options;
mod params;
pub mod task;
mod tensors;
mod trainer;

pub use abi_stable;
pub use base::{Base, OutputOptions};
pub use error::{Error, Result};
pub use indexmap::IndexMap;
pub use level::Level;
pub use log;
pub use manifest::Manifest;
pub use params::{Init, Params};
pub use schemars::{self, JsonSchema};
pub use task::{Description, Epoch, EpochReport, Kind, Output, Task};
pub use tch;
pub use tensors::{Batch, Features, Loss, Outputs, Pass, Phase, Step, Target, Term, Value, Weight};
pub use trainer::Trainer;
