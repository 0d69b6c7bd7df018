//! The trait that a plugin implements.

use crate::base::Base;
use crate::extensions::Extension;
use crate::task::{Epoch, EpochReport, Kind, Output, Task};
use crate::tensors::{Batch, Features, Loss, Outputs, Pass, Step};
use crate::{Params, Result, bail};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// A trainer: heads and loss of one network. Called by one thread at a time, which may change between calls.
///
/// Whatever is not overridden is the work of [`base`](Trainer::base): named outputs with heads, losses and deep supervision.
/// A trainer that wraps another type of this crate holds it, returns its base, and overrides the one method it changes.
pub trait Trainer: Sized + Send {
    /// Options of a run (`--options FILE`, `--set key=value`). Keys that are not in its schema are refused.
    type Options: DeserializeOwned + JsonSchema;

    /// What it can do beyond this trait, see [`extensions`](crate::extensions).
    const EXTENSIONS: &'static [Extension] = &[];

    /// Makes the trainer and all its parameters.
    fn new(task: &Task, options: Self::Options, params: &mut Params) -> Result<Self>;

    /// What does the work that this trainer does not do itself.
    fn base(&self) -> &Base;

    /// The outputs, in order. Constant; the first one is what is reported and saved first.
    fn outputs(&self) -> &[Output] {
        self.base().outputs()
    }

    /// Heads: features to logits, for each dense output `pass.levels` levels (at most as many as declared), finest first.
    fn forward(&self, features: &Features, pass: &Pass) -> Result<Outputs> {
        self.base().forward(features, pass)
    }

    /// Named loss terms. Outputs arrive in f32, autocast is off.
    fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
        self.base().loss(outputs, batch, step)
    }

    /// Logits (B, C, …) to predictions of the same shape. Default: [`Kind::activate`] of every output. A trainer that overrides this must not say
    /// that it [keeps](crate::export_trainer) `activate`.
    fn activate(&self, logits: Outputs) -> Result<Outputs> {
        activate_by_kind(self.outputs(), logits)
    }

    /// An epoch begins.
    fn epoch_start(&mut self, _epoch: &Epoch) -> Result<()> {
        Ok(())
    }

    /// An epoch has ended.
    fn epoch_end(&mut self, _report: &EpochReport) -> Result<()> {
        Ok(())
    }

    /// What a checkpoint must hold beyond parameters and buffers.
    fn save_state(&self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    /// Restores [`save_state`](Trainer::save_state)'s bytes.
    fn load_state(&mut self, state: &[u8]) -> Result<()> {
        if !state.is_empty() {
            bail!("the checkpoint holds {} bytes of trainer state, but this trainer has none", state.len());
        }
        Ok(())
    }
}

fn activate_by_kind(declared: &[Output], logits: Outputs) -> Result<Outputs> {
    let mut active = Outputs::new();
    for (name, levels) in logits {
        let kind = declared.iter().find(|output| output.name == name).map_or(Kind::Aux, |output| output.kind);
        for level in levels {
            active.push(&name, kind.activate(&level)?);
        }
    }
    Ok(active)
}
