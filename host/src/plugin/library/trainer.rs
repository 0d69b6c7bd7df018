//! A trainer in a library: the calls through its table.

use super::super::backend::{Failure, TrainerCalls};
use super::extensions::{Extensions, gradient_sink, metric_sink};
use super::marshal::{LentBatch, LentFeatures, LentOutputs, loss_sink, output_sink, step_as_c};
use super::services::host_services;
use super::{call, from_json, json, text};
use crate::network::Parameters;
use plugin_api::abi::{self, Entry, Instance, Sink, Str};
use plugin_api::extensions::{Metric, TermWithGrad};
use plugin_api::{Batch, Epoch, EpochReport, Features, Output, Outputs, Pass, Step, Task, Term};
use serde_json::Value;

/// An instance, and the tables of its library.
pub(super) struct LibraryTrainer {
    entry: &'static Entry,
    extensions: Extensions,
    instance: Instance,
}

impl std::fmt::Debug for LibraryTrainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LibraryTrainer").field("extensions", &self.extensions).finish_non_exhaustive()
    }
}

// SAFETY: the contract allows calls from any thread, one at a time; `&self` calls are not concurrent, since this is not `Sync`.
unsafe impl Send for LibraryTrainer {}

impl LibraryTrainer {
    pub fn create(entry: &'static Entry, task: &Task, options: &Value, parameters: &mut Parameters) -> Result<Self, Failure> {
        let (task, options, services) = (json(task), json(options), host_services(parameters));
        let mut instance = Instance(std::ptr::null_mut());
        call(|error| {
            // SAFETY: everything lent outlives the call; `instance` is writable.
            unsafe { (entry.create)(&services, Str::new(&task), Str::new(&options), &mut instance, error) }
        })?;
        if instance.0.is_null() {
            return Err(Failure::returned("no trainer"));
        }
        Ok(Self { entry, extensions: Extensions::of(entry), instance })
    }
}

impl TrainerCalls for LibraryTrainer {
    fn outputs(&self) -> Result<Vec<Output>, Failure> {
        let declared = text(|out, error| {
            // SAFETY: the instance is alive, the sinks outlive the call.
            unsafe { (self.entry.outputs)(self.instance, out, error) }
        })?;
        from_json(&declared)
    }

    fn forward(&self, features: &Features, pass: &Pass) -> Result<Outputs, Failure> {
        let lent = LentFeatures::new(features);
        let c_pass =
            abi::Pass { levels: u32::try_from(pass.levels).unwrap_or(u32::MAX), training: pass.training.into(), amp: pass.amp.into() };
        let mut outputs = Outputs::new();
        call(|error| {
            // SAFETY: everything lent outlives the call.
            unsafe { (self.entry.forward)(self.instance, &lent.as_c(), &c_pass, output_sink(&mut outputs), error) }
        })?;
        Ok(outputs)
    }

    fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Term>, Failure> {
        let (lent_outputs, lent_batch, c_step) = (LentOutputs::new(outputs), LentBatch::new(batch), step_as_c(step));
        let mut terms = Vec::new();
        call(|error| {
            // SAFETY: everything lent outlives the call.
            unsafe { (self.entry.loss)(self.instance, lent_outputs.as_c(), &lent_batch.as_c(), &c_step, loss_sink(&mut terms), error) }
        })?;
        Ok(terms)
    }

    fn has_loss_with_grad(&self) -> bool {
        self.extensions.loss_with_grad.is_some()
    }

    fn loss_with_grad(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<TermWithGrad>, Failure> {
        let Some(table) = self.extensions.loss_with_grad else { return Ok(Vec::new()) };
        let (lent_outputs, lent_batch, c_step) = (LentOutputs::new(outputs), LentBatch::new(batch), step_as_c(step));
        let mut terms = Vec::new();
        call(|error| {
            // SAFETY: everything lent outlives the call.
            unsafe { (table.compute)(self.instance, lent_outputs.as_c(), &lent_batch.as_c(), &c_step, gradient_sink(&mut terms), error) }
        })?;
        Ok(terms)
    }

    fn activate(&self, logits: &Outputs) -> Result<Outputs, Failure> {
        let lent = LentOutputs::new(logits);
        let mut active = Outputs::new();
        call(|error| {
            // SAFETY: everything lent outlives the call.
            unsafe { (self.entry.activate)(self.instance, lent.as_c(), output_sink(&mut active), error) }
        })?;
        Ok(active)
    }

    fn has_metrics(&self) -> bool {
        self.extensions.metrics.is_some()
    }

    fn metrics(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Metric>, Failure> {
        let Some(table) = self.extensions.metrics else { return Ok(Vec::new()) };
        let (lent_outputs, lent_batch, c_step) = (LentOutputs::new(outputs), LentBatch::new(batch), step_as_c(step));
        let mut metrics = Vec::new();
        call(|error| {
            // SAFETY: everything lent outlives the call.
            unsafe { (table.compute)(self.instance, lent_outputs.as_c(), &lent_batch.as_c(), &c_step, metric_sink(&mut metrics), error) }
        })?;
        Ok(metrics)
    }

    fn epoch_start(&mut self, epoch: &Epoch) -> Result<(), Failure> {
        self.lend_text(&json(epoch), self.entry.epoch_start)
    }

    fn epoch_end(&mut self, report: &EpochReport) -> Result<(), Failure> {
        self.lend_text(&json(report), self.entry.epoch_end)
    }

    fn save_state(&self) -> Result<Vec<u8>, Failure> {
        text(|out, error| {
            // SAFETY: the instance is alive, the sinks outlive the call.
            unsafe { (self.entry.save_state)(self.instance, out, error) }
        })
    }

    fn load_state(&mut self, state: &[u8]) -> Result<(), Failure> {
        self.lend_text(state, self.entry.load_state)
    }
}

impl LibraryTrainer {
    fn lend_text(
        &self,
        text: &(impl AsRef<[u8]> + ?Sized),
        function: unsafe extern "C" fn(Instance, Str, Sink) -> i32,
    ) -> Result<(), Failure> {
        // SAFETY: the instance is alive; the bytes outlive the call.
        call(|error| unsafe { function(self.instance, Str::new(text), error) })
    }
}

impl Drop for LibraryTrainer {
    fn drop(&mut self) {
        // SAFETY: made by `create`, and never used again.
        unsafe { (self.entry.destroy)(self.instance) };
    }
}
