//! [`LoadedTrainer`]: a trainer behind the border, safe to call.
//!
//! Around every call: torch's generators are seeded for the call and put back after it, modes that the plugin changed are put back
//! (a caught panic inside `no_grad` would otherwise leave gradients off, and training would silently do nothing), and what comes
//! back is checked against what was declared.

use super::backend::{Failure, Plugin, TrainerCalls};
use super::error::CallError;
use super::lent::{self, Lent, Watched};
use crate::network::Parameters;
use crate::shim::{KeepModes, Seeded, generator_digest, mix};
use gate::PluginIdentity;
use plugin_api::extensions::{Metric, TermWithGrad};
use plugin_api::manifest::{ACTIVATE, FORWARD};
use plugin_api::{Batch, Epoch, EpochReport, Features, Kind, Outputs, Pass, Phase, Step, Task, Term, Weight};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::sync::Once;
use tch::{Device, Tensor};

/// Name of the call, whichever way losses are computed.
const LOSS: &str = "loss";

/// A trainer that a plugin made for one task.
#[derive(Debug)]
pub struct LoadedTrainer {
    calls: Box<dyn TrainerCalls>,
    guard: Guard,
    outputs: Vec<plugin_api::Output>,
    /// The run's.
    seed: u64,
}

/// What is around every call.
#[derive(Debug)]
struct Guard {
    plugin: Plugin,
    device: Device,
    /// A panic leaves a trainer in an unknown state: nothing may follow.
    poisoned: Cell<bool>,
    /// What calls did beside their work, where somebody wants to know.
    observed: RefCell<Option<Vec<Observation>>>,
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

impl LoadedTrainer {
    /// Makes a trainer for `task` with `options` (a JSON object); its parameters are added to `parameters`.
    pub fn create(plugin: &Plugin, task: &Task, options: &Value, parameters: &mut Parameters) -> Result<Self, CallError> {
        let guard = Guard { plugin: plugin.clone(), device: parameters.device(), poisoned: false.into(), observed: None.into() };
        let calls = guard.call("new", mix(&[task.seed, 0]), || plugin.trainer(task, options, parameters))?;
        let outputs = guard.call("outputs", 0, || calls.outputs())?;
        let trainer = Self { calls, guard, outputs, seed: task.seed };
        trainer.check_declared()?;
        Ok(trainer)
    }

    /// The plugin that it came from.
    pub fn plugin(&self) -> &Plugin {
        &self.guard.plugin
    }

    /// Which plugin that is.
    pub fn identity(&self) -> &PluginIdentity {
        self.plugin().identity()
    }

    /// From now on, notes what calls do beside their work; returns what was noted so far.
    pub fn observe(&self) -> Vec<Observation> {
        self.guard.observed.replace(Some(Vec::new())).unwrap_or_default()
    }

    /// Where its tensors live.
    pub(crate) fn device(&self) -> Device {
        self.guard.device
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
        self.guard.call_lending(FORWARD, seed, lent::of_features(features), || self.calls.forward(features, pass))
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
        if self.calls.has_loss_with_grad() {
            return self.loss_with_grad(outputs, batch, step);
        }
        let lent = lent::of_loss(outputs, batch);
        self.guard.call_lending(LOSS, mix(&[step.seed, 1]), lent, || self.calls.loss(outputs, batch, step))
    }

    /// Terms of a plugin that computes gradients by hand, each as a number that has the value and, towards the outputs, these gradients.
    fn loss_with_grad(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Term>, CallError> {
        let mut without_graph = Outputs::new();
        for (name, levels) in outputs.iter() {
            levels.iter().for_each(|level| without_graph.push(name, level.detach()));
        }
        let (lent, seed) = (lent::of_loss(&without_graph, batch), mix(&[step.seed, 1]));
        let terms = self.guard.call_lending(LOSS, seed, lent, || self.calls.loss_with_grad(&without_graph, batch, step))?;
        if step.phase == Phase::Validate {
            return Ok(terms.into_iter().map(|TermWithGrad { term, .. }| term).collect());
        }
        terms.into_iter().map(|term| self.with_gradients(term, outputs)).collect()
    }

    fn with_gradients(&self, TermWithGrad { mut term, gradients }: TermWithGrad, outputs: &Outputs) -> Result<Term, CallError> {
        let failed = |e: tch::TchError| self.error(LOSS, e.to_string());
        // Anything else would grow with what is added to it.
        self.check_tensor(LOSS, &format!("term '{}'", term.name), &term.value, Some(&[]))?;
        for (name, levels) in gradients {
            let outputs = outputs.get(&name).map_err(|e| self.error(LOSS, format!("returned a gradient of term '{}': {e}", term.name)))?;
            for (i, gradient) in levels.iter().enumerate().filter(|(_, gradient)| gradient.defined()) {
                let what = format!("gradient of term '{}' to output '{name}', level {i}", term.name);
                let Some(output) = outputs.get(i) else {
                    return Err(self.error(LOSS, format!("returned a {what}, which has {} levels", outputs.len())));
                };
                self.check_tensor(LOSS, &what, gradient, Some(&output.size()))?;
                let nothing = output.f_sub(&output.detach()).map_err(failed)?;
                let part = gradient.detach().f_mul(&nothing).and_then(|part| part.f_sum(output.kind())).map_err(failed)?;
                term.value = term.value.f_add(&part).map_err(failed)?;
            }
        }
        Ok(term)
    }

    /// Online metrics of the plugin's own; none where it has none.
    pub fn metrics(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Metric>, CallError> {
        const CALL: &str = "metrics";
        if !self.calls.has_metrics() {
            return Ok(Vec::new());
        }
        let lent = lent::of_loss(outputs, batch);
        let metrics = self.guard.call_lending(CALL, mix(&[step.seed, 5]), lent, || self.calls.metrics(outputs, batch, step))?;
        for Metric { output, name, .. } in &metrics {
            if !self.outputs.iter().any(|declared| declared.name == *output) {
                return Err(self.error(CALL, format!("returned '{name}' of output '{output}', which it did not declare")));
            }
            if name.is_empty() || ["dice", "mae", "accuracy"].contains(&name.as_str()) || name.starts_with("dice_") {
                return Err(self.error(
                    CALL,
                    format!("returned a metric '{name}' of output '{output}': the host has one of this name, or it is none"),
                ));
            }
        }
        Ok(metrics)
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
        let active = self.guard.call_lending(CALL, 2, lent::of_outputs(logits), || self.calls.activate(logits))?;
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
        self.guard.call("epoch_start", mix(&[self.seed, epoch.epoch, 3]), || self.calls.epoch_start(epoch))
    }

    /// An epoch has ended.
    pub fn epoch_end(&mut self, report: &EpochReport) -> Result<(), CallError> {
        self.guard.call("epoch_end", mix(&[self.seed, report.epoch, 4]), || self.calls.epoch_end(report))
    }

    /// What a checkpoint must hold beyond parameters.
    pub fn save_state(&self) -> Result<Vec<u8>, CallError> {
        self.guard.call("save_state", 0, || self.calls.save_state())
    }

    /// Restores [`LoadedTrainer::save_state`]'s bytes.
    pub fn load_state(&mut self, state: &[u8]) -> Result<(), CallError> {
        self.guard.call("load_state", 0, || self.calls.load_state(state))
    }

    pub(crate) fn error(&self, call: &'static str, message: String) -> CallError {
        self.guard.error(call, message)
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

    fn check_tensor(&self, call: &'static str, what: &str, tensor: &Tensor, shape: Option<&[i64]>) -> Result<(), CallError> {
        if !tensor.defined() {
            return Err(self.error(call, format!("returned no tensor for {what}")));
        }
        if let Some(shape) = shape.filter(|shape| *shape != tensor.size()) {
            return Err(self.error(call, format!("returned {what} with shape {:?}; expected {shape:?}", tensor.size())));
        }
        if tensor.device() != self.guard.device {
            return Err(self.error(call, format!("returned {what} on {:?}; expected {:?}", tensor.device(), self.guard.device)));
        }
        // A sum is finite where every value is (f32 overflow aside, which is no better), and costs one pass without a copy.
        let sum = tensor.detach().f_sum(tensor.kind()).and_then(f64::try_from).map_err(|e| self.error(call, e.to_string()))?;
        if !sum.is_finite() {
            return Err(CallError { nonfinite: true, ..self.error(call, format!("returned NaN or infinity in {what}")) });
        }
        Ok(())
    }
}

impl Guard {
    /// The same as [`Self::call`], and an error where the plugin wrote to what it was lent.
    fn call_lending<T>(
        &self,
        call: &'static str,
        seed: u64,
        lent: Lent,
        body: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, CallError> {
        let watched = Watched::new(lent);
        let done = self.call(call, seed, body)?;
        match watched.written() {
            Some(name) => {
                Err(self.error(call, format!("wrote to {name}, which is lent to other trainers, too; copy it before changing it")))
            }
            None => Ok(done),
        }
    }

    /// Runs `body` with seeded generators; puts modes back; turns a failure into an error.
    fn call<T>(&self, call: &'static str, seed: u64, body: impl FnOnce() -> Result<T, Failure>) -> Result<T, CallError> {
        if self.poisoned.get() {
            return Err(self.error(call, "cannot run: an earlier call panicked".to_owned()));
        }
        let modes = KeepModes::new();
        let seeded = Seeded::new(self.device, seed).map_err(|e| self.error(call, e.to_string()))?;
        let observing = self.observed.borrow().is_some();
        let generator = || if observing { generator_digest(Device::Cpu).unwrap_or_default() } else { 0 };
        let generator_found = generator();
        let done = body();
        if let Some(observed) = self.observed.borrow_mut().as_mut() {
            observed.push(Observation { call, changed_modes: modes.changed(), generator_found, generator_left: generator() });
        }
        drop(seeded);
        if done.is_ok() && modes.changed() {
            static ONCE: Once = Once::new();
            let what = "changed gradient mode, autocast or threads; put back";
            ONCE.call_once(|| log::warn!("{}", self.error(call, what.to_owned())));
        }
        done.map_err(|failure| {
            self.poisoned.set(failure.panicked);
            CallError::of(self.plugin.identity(), call, failure)
        })
    }

    fn error(&self, call: &'static str, message: String) -> CallError {
        CallError::new(self.plugin.identity(), call, message)
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
