//! What the host needs of a plugin, whatever it is written in and however it is called: [`TrainerBackend`]. Shared libraries are one.
//!
//! A backend makes the calls and no more. What holds for all of them is around the calls: [`LoadedTrainer`](super::LoadedTrainer) and
//! [`LoadedTransform`](super::LoadedTransform) seed generators, put modes back, notice writes to what is lent, and check what comes back.

use crate::network::Parameters;
use gate::PluginIdentity;
use indexmap::IndexMap;
use plugin_api::extensions::{MadeTarget, Metric, Sample, TermWithGrad};
use plugin_api::task::Target;
use plugin_api::{Batch, Description, Epoch, EpochReport, Features, Output, Outputs, Pass, Step, Task, Term};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;

/// A plugin that may be called. Cheap to clone.
pub type Plugin = Arc<dyn TrainerBackend>;

/// A source of trainers.
pub trait TrainerBackend: fmt::Debug + Send + Sync {
    /// Which plugin it is: what it says of itself, its hash, and where it is found. [`gate::trust::standing`] tells from it whether it is trusted,
    /// [`remember`](super::remember) makes models find it again.
    fn identity(&self) -> &PluginIdentity;

    /// Extensions that it has, of those that this host calls, as [`plugin_api::extensions`] names them.
    fn extensions(&self) -> Vec<&'static str>;

    /// Checks how it answers what only its kind of backend asks.
    ///
    /// # Errors
    /// What is wrong, in words that go on from the plugin's name.
    fn check_answers(&self) -> Result<(), String>;

    /// What it tells of its options.
    fn describe(&self) -> Result<Description, Failure>;

    /// A trainer for `task` with `options` (a JSON object); its parameters are added to `parameters`.
    fn trainer(&self, task: &Task, options: &Value, parameters: &mut Parameters) -> Result<Box<dyn TrainerCalls>, Failure>;

    /// What makes targets of its own for `task`, if it makes any, and these targets in order.
    fn transform(&self, task: &Task, options: &Value) -> Result<Option<MadeTransform>, Failure>;
}

/// What makes targets, and which.
pub type MadeTransform = (Box<dyn TransformCalls>, IndexMap<String, Target>);

/// The calls of one trainer: `plugin_api::Trainer` without its defaults, one at a time, from any thread. None is made after one that panicked.
pub trait TrainerCalls: fmt::Debug + Send {
    /// Its outputs, in order.
    fn outputs(&self) -> Result<Vec<Output>, Failure>;

    /// Heads: features to logits.
    fn forward(&self, features: &Features, pass: &Pass) -> Result<Outputs, Failure>;

    /// Terms of the loss.
    fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Term>, Failure>;

    /// Whether it computes gradients by hand: then [`loss_with_grad`](Self::loss_with_grad) is called in place of [`loss`](Self::loss).
    fn has_loss_with_grad(&self) -> bool;

    /// Terms of the loss and their gradients towards `outputs`, which have no graph.
    fn loss_with_grad(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<TermWithGrad>, Failure>;

    /// Logits to predictions.
    fn activate(&self, logits: &Outputs) -> Result<Outputs, Failure>;

    /// Whether it has online metrics of its own.
    fn has_metrics(&self) -> bool;

    /// These metrics.
    fn metrics(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Metric>, Failure>;

    /// An epoch begins.
    fn epoch_start(&mut self, epoch: &Epoch) -> Result<(), Failure>;

    /// An epoch has ended.
    fn epoch_end(&mut self, report: &EpochReport) -> Result<(), Failure>;

    /// What a checkpoint must hold beyond parameters.
    fn save_state(&self) -> Result<Vec<u8>, Failure>;

    /// Restores what [`save_state`](Self::save_state) returned.
    fn load_state(&mut self, state: &[u8]) -> Result<(), Failure>;
}

/// The calls of what makes targets: from any thread, by several at a time.
pub trait TransformCalls: fmt::Debug + Send + Sync {
    /// Makes the targets `made` of `sample`, and says of each whether the case has it.
    fn apply(&self, sample: &Sample, made: &mut [MadeTarget]) -> Result<(), Failure>;
}

/// Why a call failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What happened, in one line that goes on from the name of the call.
    pub message: String,
    /// It panicked or threw: what was called is in an unknown state.
    pub panicked: bool,
}

impl Failure {
    /// It returned what it must not.
    pub fn returned(what: impl fmt::Display) -> Self {
        Self { message: format!("returned {what}"), panicked: false }
    }
}
