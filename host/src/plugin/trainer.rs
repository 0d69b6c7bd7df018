//! [`LoadedTrainer`]: a trainer behind the border, safe to call.
//!
//! Around every call: torch's generators are seeded for the call and put back after it, modes that the plugin changed are put back
//! (a caught panic inside `no_grad` would otherwise leave gradients off, and training would silently do nothing), and what comes
//! back is checked against what was declared.

use super::error::CallError;
use super::extensions::Extensions;
use super::lent::{self, Lent, Watched};
use super::library::Library;
use super::marshal::{LentBatch, LentFeatures, LentOutputs, loss_sink, output_sink, step_as_c};
use super::services::host_services;
use crate::network::Parameters;
use crate::shim::{KeepModes, Seeded, generator_digest, mix};
use plugin_api::abi::{self, Instance, Sink, Str};
use plugin_api::manifest::{ACTIVATE, FORWARD};
use plugin_api::{Batch, Description, Epoch, EpochReport, Features, Kind, Outputs, Pass, Step, Task, Term, Weight};
use std::sync::Once;
use tch::{Device, Tensor};

/// Name of the call, whichever way losses are computed.
pub(super) const LOSS: &str = "loss";

/// A trainer that a plugin made for one task.
#[derive(Debug)]
pub struct LoadedTrainer {
    pub(super) library: Library,
    pub(super) extensions: Extensions,
    pub(super) instance: Instance,
    pub(super) outputs: Vec<plugin_api::Output>,
    device: Device,
    /// The run's.
    seed: u64,
    /// A panic leaves an instance in an unknown state: nothing but `destroy` may follow.
    poisoned: std::cell::Cell<bool>,
    /// What calls did beside their work, where somebody wants to know.
    observed: std::cell::RefCell<Option<Vec<Observation>>>,
}

/// What a call did beside its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Which call.
    pub call: &'static str,
    /// It left gradient mode, autocast, threads or the choice of algorithms changed.
    pub changed_modes: bool,
    /// The CPU generator's state as the call found it.
    pub generator_found: u64,
    /// And as it left it.
    pub generator_left: u64,
}

impl Observation {
    /// Whether it drew random numbers.
    pub fn drew(&self) -> bool {
        self.generator_found != self.generator_left
    }
}

// SAFETY: the contract allows calls from any thread, one at a time; `&self` calls are not concurrent, since this is not `Sync`.
unsafe impl Send for LoadedTrainer {}

impl LoadedTrainer {
    /// Makes a trainer for `task` with `options` (a JSON object); its parameters are added to `parameters`.
    pub fn create(library: &Library, task: &Task, options: &serde_json::Value, parameters: &mut Parameters) -> Result<Self, CallError> {
        let (seed, task, options) = (task.seed, json(task), json(options));
        let services = host_services(parameters);
        let mut trainer = Self {
            library: library.clone(),
            extensions: Extensions::of(library.entry),
            instance: Instance(std::ptr::null_mut()),
            outputs: Vec::new(),
            device: parameters.device(),
            seed,
            poisoned: false.into(),
            observed: None.into(),
        };
        let mut instance = Instance(std::ptr::null_mut());
        trainer.call("new", mix(&[seed, 0]), |error| {
            // SAFETY: everything lent outlives the call; `out` is writable.
            unsafe { (library.entry.create)(&services, Str::new(&task), Str::new(&options), &mut instance, error) }
        })?;
        if instance.0.is_null() {
            return Err(trainer.error("new", "returned no trainer".to_owned()));
        }
        trainer.instance = instance;
        let declared = trainer.text("outputs", |trainer, out, error| {
            // SAFETY: the instance is alive, the sinks outlive the call.
            unsafe { (library.entry.outputs)(trainer, out, error) }
        })?;
        trainer.outputs = serde_json::from_slice(&declared).map_err(|e| trainer.error("outputs", format!("returned broken JSON: {e}")))?;
        trainer.check_declared()?;
        Ok(trainer)
    }

    /// What the plugin tells of its options. Runs plugin code.
    pub fn describe(library: &Library) -> Result<Description, CallError> {
        const CALL: &str = "describe";
        let (mut out, mut message) = (Vec::new(), Vec::new());
        // SAFETY: both sinks outlive the call.
        let status = unsafe { (library.entry.describe)(Sink::into_buffer(&mut out), Sink::into_buffer(&mut message)) };
        if status != abi::OK {
            return Err(CallError::returned(library, CALL, status, &message));
        }
        serde_json::from_slice(&out).map_err(|e| CallError::new(library, CALL, format!("returned broken JSON: {e}")))
    }

    /// The library it came from.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// From now on, notes what calls do beside their work; returns what was noted so far.
    pub fn observe(&self) -> Vec<Observation> {
        self.observed.replace(Some(Vec::new())).unwrap_or_default()
    }

    /// Where its tensors live.
    pub(crate) fn device(&self) -> Device {
        self.device
    }

    /// Its outputs, in order.
    pub fn outputs(&self) -> &[plugin_api::Output] {
        &self.outputs
    }

    /// Heads: features to logits in f32, checked against the declared outputs.
    pub fn forward(&self, features: &Features, pass: &Pass, seed: u64) -> Result<Outputs, CallError> {
        const CALL: &str = FORWARD;
        let mut checked = Outputs::new();
        for (name, levels) in self.forward_unchecked(features, pass, seed)? {
            let Some(declared) = self.outputs.iter().find(|output| output.name == name) else {
                return Err(self.error(CALL, format!("returned an output '{name}' that it did not declare")));
            };
            for (i, level) in levels.into_iter().enumerate() {
                let level = level.f_to_kind(tch::Kind::Float).map_err(|e| self.error(CALL, e.to_string()))?;
                self.check_tensor(CALL, &format!("output '{name}', level {i}"), &level, expected_shape(declared, i, features).as_deref())?;
                checked.push(&name, level);
            }
        }
        for output in &self.outputs {
            let expected = output.levels.min(pass.levels);
            match checked.get(&output.name).map_or(0, <[Tensor]>::len) {
                found if found == expected => {}
                found => return Err(self.error(CALL, format!("returned {found} levels of output '{}'; expected {expected}", output.name))),
            }
        }
        Ok(checked)
    }

    /// The same, whatever it returns.
    pub(crate) fn forward_unchecked(&self, features: &Features, pass: &Pass, seed: u64) -> Result<Outputs, CallError> {
        let lent = LentFeatures::new(features);
        let c_pass =
            abi::Pass { levels: u32::try_from(pass.levels).unwrap_or(u32::MAX), training: pass.training.into(), amp: pass.amp.into() };
        let mut outputs = Outputs::new();
        self.call_lending(FORWARD, seed, lent::of_features(features), |error| {
            // SAFETY: everything lent outlives the call.
            unsafe { (self.library.entry.forward)(self.instance, &lent.as_c(), &c_pass, output_sink(&mut outputs), error) }
        })?;
        Ok(outputs)
    }

    /// Named terms, each a finite f32 scalar; `outputs` in f32. Where the plugin computes gradients by hand, the terms carry these.
    pub fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Term>, CallError> {
        let terms = self.loss_of_any_kind(outputs, batch, step)?;
        for term in &terms {
            self.check_term(term)?;
        }
        Ok(terms)
    }

    /// The same, unchecked: outputs may be in f64, too, to see how exact gradients are.
    pub fn loss_of_any_kind(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Term>, CallError> {
        match self.extensions.loss_with_grad {
            Some(table) => self.loss_with_grad(table, outputs, batch, step),
            None => self.loss_in_graph(outputs, batch, step),
        }
    }

    fn loss_in_graph(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Term>, CallError> {
        let (lent_outputs, lent_batch, c_step) = (LentOutputs::new(outputs), LentBatch::new(batch), step_as_c(step));
        let mut terms = Vec::new();
        self.call_lending(LOSS, mix(&[step.seed, 1]), lent::of_loss(outputs, batch), |error| {
            // SAFETY: everything lent outlives the call.
            unsafe {
                (self.library.entry.loss)(self.instance, lent_outputs.as_c(), &lent_batch.as_c(), &c_step, loss_sink(&mut terms), error)
            }
        })?;
        Ok(terms)
    }

    fn check_term(&self, term: &Term) -> Result<(), CallError> {
        self.check_tensor(LOSS, &format!("term '{}'", term.name), &term.value, Some(&[]))?;
        if term.value.kind() != tch::Kind::Float {
            return Err(self.error(LOSS, format!("returned term '{}' as {:?}; expected f32", term.name, term.value.kind())));
        }
        match &term.weight {
            Weight::Learned(weight) => self.check_tensor(LOSS, &format!("weight of term '{}'", term.name), weight, Some(&[])),
            Weight::Number(weight) if weight.is_finite() => Ok(()),
            Weight::Number(weight) => Err(self.error(LOSS, format!("returned term '{}' with weight {weight}", term.name))),
        }
    }

    /// Logits to predictions, same shapes.
    pub fn activate(&self, logits: &Outputs) -> Result<Outputs, CallError> {
        const CALL: &str = ACTIVATE;
        let lent = LentOutputs::new(logits);
        let mut active = Outputs::new();
        self.call_lending(CALL, 2, lent::of_outputs(logits), |error| {
            // SAFETY: everything lent outlives the call.
            unsafe { (self.library.entry.activate)(self.instance, lent.as_c(), output_sink(&mut active), error) }
        })?;
        for (name, levels) in logits.iter() {
            let found = active.get(name).map_err(|e| self.error(CALL, e.to_string()))?;
            if found.len() != levels.len() {
                return Err(self.error(CALL, format!("returned {} levels of output '{name}'; expected {}", found.len(), levels.len())));
            }
            for (level, active) in levels.iter().zip(found) {
                self.check_tensor(CALL, &format!("output '{name}'"), active, Some(&level.size()))?;
            }
        }
        Ok(active)
    }

    /// An epoch begins.
    pub fn epoch_start(&mut self, epoch: &Epoch) -> Result<(), CallError> {
        let json = json(epoch);
        // SAFETY: the string outlives the call.
        self.call("epoch_start", mix(&[self.seed, epoch.epoch, 3]), |error| unsafe {
            (self.library.entry.epoch_start)(self.instance, Str::new(&json), error)
        })
    }

    /// An epoch has ended.
    pub fn epoch_end(&mut self, report: &EpochReport) -> Result<(), CallError> {
        let json = json(report);
        // SAFETY: the string outlives the call.
        self.call("epoch_end", mix(&[self.seed, report.epoch, 4]), |error| unsafe {
            (self.library.entry.epoch_end)(self.instance, Str::new(&json), error)
        })
    }

    /// What a checkpoint must hold beyond parameters.
    pub fn save_state(&self) -> Result<Vec<u8>, CallError> {
        self.text("save_state", |trainer, out, error| {
            // SAFETY: the instance is alive, the sinks outlive the call.
            unsafe { (self.library.entry.save_state)(trainer, out, error) }
        })
    }

    /// Restores [`LoadedTrainer::save_state`]'s bytes.
    pub fn load_state(&mut self, state: &[u8]) -> Result<(), CallError> {
        // SAFETY: the bytes outlive the call.
        self.call("load_state", 0, |error| unsafe { (self.library.entry.load_state)(self.instance, Str::new(state), error) })
    }

    /// A call that writes bytes.
    fn text(&self, call: &'static str, body: impl FnOnce(Instance, Sink, Sink) -> i32) -> Result<Vec<u8>, CallError> {
        let mut out = Vec::new();
        self.call(call, 0, |error| body(self.instance, Sink::into_buffer(&mut out), error))?;
        Ok(out)
    }

    /// The same as [`Self::call`], and an error where the plugin wrote to what it was lent.
    pub(super) fn call_lending(&self, call: &'static str, seed: u64, lent: Lent, body: impl FnOnce(Sink) -> i32) -> Result<(), CallError> {
        let watched = Watched::new(lent);
        self.call(call, seed, body)?;
        match watched.written() {
            Some(name) => {
                Err(self.error(call, format!("wrote to {name}, which is lent to other trainers, too; copy it before changing it")))
            }
            None => Ok(()),
        }
    }

    /// Runs `body` with seeded generators; puts modes back; turns a failure into an error.
    pub(super) fn call(&self, call: &'static str, seed: u64, body: impl FnOnce(Sink) -> i32) -> Result<(), CallError> {
        if self.poisoned.get() {
            return Err(self.error(call, "cannot run: an earlier call panicked".to_owned()));
        }
        let modes = KeepModes::new();
        let seeded = Seeded::new(self.device, seed).map_err(|e| self.error(call, e.to_string()))?;
        let observing = self.observed.borrow().is_some();
        let generator = || if observing { generator_digest(Device::Cpu).unwrap_or_default() } else { 0 };
        let mut message = Vec::new();
        let generator_found = generator();
        let status = body(Sink::into_buffer(&mut message));
        if let Some(observed) = self.observed.borrow_mut().as_mut() {
            observed.push(Observation { call, changed_modes: modes.changed(), generator_found, generator_left: generator() });
        }
        drop(seeded);
        if status == abi::OK {
            if modes.changed() {
                static ONCE: Once = Once::new();
                let what = "changed gradient mode, autocast or threads; put back";
                ONCE.call_once(|| log::warn!("{}", self.error(call, what.to_owned())));
            }
            return Ok(());
        }
        self.poisoned.set(status == abi::PANIC);
        Err(CallError::returned(&self.library, call, status, &message))
    }

    pub(crate) fn error(&self, call: &'static str, message: String) -> CallError {
        CallError::new(&self.library, call, message)
    }

    fn check_declared(&self) -> Result<(), CallError> {
        const CALL: &str = "outputs";
        if self.outputs.is_empty() {
            return Err(self.error(CALL, "declares no output".to_owned()));
        }
        for (i, output) in self.outputs.iter().enumerate() {
            if self.outputs[..i].iter().any(|earlier| earlier.name == output.name) {
                return Err(self.error(CALL, format!("declares '{}' twice", output.name)));
            }
            if output.name.is_empty() || output.name.contains(['/', '\0']) || output.name.starts_with('.') {
                return Err(self.error(CALL, format!("declares '{}', which cannot be the name of a folder", output.name)));
            }
            if output.channels < 1 || output.levels < 1 {
                return Err(
                    self.error(CALL, format!("declares '{}' with {} channels and {} levels", output.name, output.channels, output.levels))
                );
            }
        }
        Ok(())
    }

    pub(super) fn check_tensor(&self, call: &'static str, what: &str, tensor: &Tensor, shape: Option<&[i64]>) -> Result<(), CallError> {
        if !tensor.defined() {
            return Err(self.error(call, format!("returned no tensor for {what}")));
        }
        if let Some(shape) = shape.filter(|shape| *shape != tensor.size()) {
            return Err(self.error(call, format!("returned {what} with shape {:?}; expected {shape:?}", tensor.size())));
        }
        if tensor.device() != self.device {
            return Err(self.error(call, format!("returned {what} on {:?}; expected {:?}", tensor.device(), self.device)));
        }
        // A sum is finite where every value is (f32 overflow aside, which is no better), and costs one pass without a copy.
        let sum = tensor.detach().f_sum(tensor.kind()).and_then(f64::try_from).map_err(|e| self.error(call, e.to_string()))?;
        if !sum.is_finite() {
            return Err(CallError { nonfinite: true, ..self.error(call, format!("returned NaN or infinity in {what}")) });
        }
        Ok(())
    }
}

impl Drop for LoadedTrainer {
    fn drop(&mut self) {
        if !self.instance.0.is_null() {
            // SAFETY: made by `create`, and never used again.
            unsafe { (self.library.entry.destroy)(self.instance) };
        }
    }
}

/// Shape of level `level` of `output`; free for aux outputs.
fn expected_shape(output: &plugin_api::Output, level: usize, features: &Features) -> Option<Vec<i64>> {
    let batch = features.bottleneck.size().first().copied()?;
    match output.kind {
        Kind::Aux => None,
        Kind::Class => Some(vec![batch, output.channels]),
        _ => {
            let mut shape = features.decoder.get(level)?.size();
            shape[1] = output.channels;
            Some(shape)
        }
    }
}

/// JSON of our own plain types, whose serialisation cannot fail.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data")
}
