//! What a trainer plugin is written against.
//!
//! A plugin supplies the network's heads and its loss; the host owns data, augmentation and the training loop. A whole plugin, nnU-Net's heads
//! with a loss of its own:
//!
//! ```no_run
//! use plugin_api::tch::{Kind::Float, Tensor};
//! use plugin_api::{Base, Batch, JsonSchema, Level, Loss, Outputs, Params, Result, Step, Task, Trainer, export_trainer};
//!
//! #[derive(serde::Deserialize, JsonSchema)]
//! #[schemars(crate = "plugin_api::schemars")]
//! #[serde(default)]
//! struct Options {
//!     /// The larger, the less voxels count that are learned already.
//!     gamma: f64,
//! }
//!
//! impl Default for Options {
//!     fn default() -> Self {
//!         Self { gamma: 2.0 }
//!     }
//! }
//!
//! struct MyLoss {
//!     base: Base,
//!     gamma: f64,
//! }
//!
//! impl Trainer for MyLoss {
//!     type Options = Options;
//!
//!     fn new(task: &Task, options: Options, params: &mut Params) -> Result<Self> {
//!         Ok(Self { base: Base::single(task, params)?, gamma: options.gamma })
//!     }
//!
//!     fn base(&self) -> &Base {
//!         &self.base
//!     }
//!
//!     fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
//!         let focal = |level: &Level| focal(level, self.gamma);
//!         let mut loss = Loss::new();
//!         loss.term("focal", 1.0, self.base.supervise("segmentation", outputs, batch, step, focal)?);
//!         Ok(loss)
//!     }
//! }
//!
//! /// −mean (1 − p)^γ ln p, p being the probability of the right class.
//! fn focal(level: &Level, gamma: f64) -> Result<Tensor> {
//!     let log_p = level.logits.f_log_softmax(1, Float)?.f_gather(1, &level.target, false)?;
//!     let miss = log_p.f_exp()?.f_neg()?.f_add_scalar(1.0)?;
//!     level.mean(&miss.f_pow_tensor_scalar(gamma)?.f_mul(&log_p)?.f_neg()?)
//! }
//!
//! export_trainer!(MyLoss, keeps = [activate, forward]);
//! # fn main() {}
//! ```
//!
//! with `crate-type = ["cdylib"]` and two dependencies, `plugin-api` and `serde`. [`Trainer`] says what may be overridden;
//! [`Base`], [`heads`] and [`losses`] are what to build from. `tch` and `log` are re-exported, so that versions agree.
//!
//! Data passes through a trainer once a step: the host's trunk makes [`Features`], `forward` turns them into named [`Outputs`]
//! (each a list of deep-supervision levels, finest first), `loss` compares these with a [`Batch`] and returns named terms
//! ([`Loss`]), and the host sums, differentiates and optimises.
//!
//! The [`guide`] goes on from here, with [your first loss in 15 minutes](guide::first_loss) and all that a plugin can do, chapter by chapter. Those who
//! come from nnU-Net find each command and each method of a trainer [there](guide::from_nnunet).
//!
//! Without its feature `torch`, which is on by default, the crate is what manifests, tasks and options are made of, and needs no libtorch: for
//! programs that look at plugins and run none.

pub mod abi;
#[cfg(feature = "torch")]
mod base;
pub mod conformance;
#[cfg(feature = "torch")]
pub mod door;
mod error;
#[cfg(feature = "torch")]
pub mod extensions;
#[cfg(feature = "torch")]
pub mod guide;
#[cfg(feature = "torch")]
pub mod heads;
#[cfg(feature = "torch")]
mod level;
#[cfg(feature = "torch")]
mod logging;
#[cfg(feature = "torch")]
pub mod losses;
pub mod manifest;
pub mod options;
#[cfg(feature = "torch")]
mod params;
pub mod task;
#[cfg(feature = "torch")]
mod tensors;
#[cfg(feature = "torch")]
mod trainer;

pub use abi_stable;
#[cfg(feature = "torch")]
pub use base::{Base, OutputOptions};
pub use error::{Error, Result};
pub use indexmap::IndexMap;
#[cfg(feature = "torch")]
pub use level::Level;
pub use log;
pub use manifest::Manifest;
#[cfg(feature = "torch")]
pub use params::{Init, Params};
pub use schemars::{self, JsonSchema};
pub use task::{Description, Epoch, EpochReport, Kind, Output, Task};
#[cfg(feature = "torch")]
pub use tch;
#[cfg(feature = "torch")]
pub use tensors::{Batch, Features, Loss, Outputs, Pass, Phase, Step, Target, Term, Value, Weight};
#[cfg(feature = "torch")]
pub use trainer::Trainer;
