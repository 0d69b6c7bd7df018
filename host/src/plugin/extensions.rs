//! The extensions that this host knows: their tables, found once per trainer, what their sinks collect, and the calls of [`LoadedTrainer`] into them.

use super::error::CallError;
use super::lent;
use super::library::null_function;
use super::marshal::{LentBatch, LentOutputs, step_as_c, take, take_term};
use super::trainer::{LOSS, LoadedTrainer};
use crate::shim::mix;
use gate::Reason;
use plugin_api::abi::{self, Entry, Named, Str};
use plugin_api::extensions::{Metric, TermWithGrad, loss_with_grad, metrics, target_transform};
use plugin_api::{Batch, Manifest, Outputs, Phase, Step, Term};
use std::ffi::c_void;
use tch::Tensor;

/// The tables that a plugin has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extensions {
    pub metrics: Option<&'static metrics::Table>,
    pub loss_with_grad: Option<&'static loss_with_grad::Table>,
}

impl Extensions {
    pub fn of(entry: &Entry) -> Self {
        // SAFETY: what a plugin returns for an id is that extension's table, and lives as long as the library, which is never unloaded.
        unsafe {
            Self {
                metrics: find(entry, metrics::ID).cast::<metrics::Table>().as_ref(),
                loss_with_grad: find(entry, loss_with_grad::ID).cast::<loss_with_grad::Table>().as_ref(),
            }
        }
    }
}

/// Extensions of trainers that this host calls.
pub const KNOWN: [&str; 3] = [metrics::ID, loss_with_grad::ID, target_transform::ID];

/// Those of [`KNOWN`] that the plugin of `entry` has.
pub(super) fn found(entry: &Entry) -> Vec<&'static str> {
    KNOWN.into_iter().filter(|id| !find(entry, id).is_null()).collect()
}

/// Refuses a plugin without an extension that its manifest says it has: the host would not call it, and nobody would notice.
pub(super) fn check_promised(entry: &Entry, manifest: &Manifest) -> Result<(), Reason> {
    match manifest.extensions.iter().find(|id| find(entry, id).is_null()) {
        Some(missing) => Err(Reason::NoExtension(missing.clone())),
        None => Ok(()),
    }
}

/// Refuses tables of extensions in which a function is missing.
pub(super) fn check(entry: &Entry) -> Result<(), Reason> {
    fn check_table<Table>(entry: &Entry, id: &'static str) -> Result<(), Reason> {
        let table = find(entry, id).cast::<Table>();
        // SAFETY: what a plugin returns for an id is that extension's table.
        match (!table.is_null()).then(|| unsafe { null_function(table) }).flatten() {
            Some(index) => Err(Reason::NullExtension { id, index }),
            None => Ok(()),
        }
    }
    check_table::<metrics::Table>(entry, metrics::ID)?;
    check_table::<loss_with_grad::Table>(entry, loss_with_grad::ID)?;
    check_table::<target_transform::Table>(entry, target_transform::ID)
}

/// What the plugin of `entry` returns for extension `id`; null where it has none.
pub(super) fn find(entry: &Entry, id: &str) -> *const c_void {
    // SAFETY: the id outlives the call.
    unsafe { (entry.extension)(Str::new(id)) }
}

impl LoadedTrainer {
    /// Online metrics of the plugin's own; none where it has none.
    pub fn metrics(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Metric>, CallError> {
        const CALL: &str = "metrics";
        let Some(table) = self.extensions.metrics else { return Ok(Vec::new()) };
        let (lent_outputs, lent_batch, c_step) = (LentOutputs::new(outputs), LentBatch::new(batch), step_as_c(step));
        let mut metrics = Vec::new();
        self.call_lending(CALL, mix(&[step.seed, 5]), lent::of_loss(outputs, batch), |error| {
            // SAFETY: everything lent outlives the call.
            unsafe { (table.compute)(self.instance, lent_outputs.as_c(), &lent_batch.as_c(), &c_step, metric_sink(&mut metrics), error) }
        })?;
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

    /// Terms of a plugin that computes gradients by hand, each as a number that has the value and, towards the outputs, these gradients.
    pub(super) fn loss_with_grad(
        &mut self,
        table: &loss_with_grad::Table,
        outputs: &Outputs,
        batch: &Batch,
        step: &Step,
    ) -> Result<Vec<Term>, CallError> {
        let mut without_graph = Outputs::new();
        for (name, levels) in outputs.iter() {
            levels.iter().for_each(|level| without_graph.push(name, level.detach()));
        }
        let (lent_outputs, lent_batch, c_step) = (LentOutputs::new(&without_graph), LentBatch::new(batch), step_as_c(step));
        let mut terms = Vec::new();
        self.call_lending(LOSS, mix(&[step.seed, 1]), lent::of_loss(&without_graph, batch), |error| {
            // SAFETY: everything lent outlives the call.
            unsafe { (table.compute)(self.instance, lent_outputs.as_c(), &lent_batch.as_c(), &c_step, gradient_sink(&mut terms), error) }
        })?;
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
}

/// Collects metrics into `collected`, which must outlive the call.
pub(super) fn metric_sink(collected: &mut Vec<Metric>) -> metrics::MetricSink {
    unsafe extern "C" fn push(ctx: *mut c_void, output: Str, name: Str, value: f64) {
        // SAFETY: `ctx` is what `metric_sink` borrowed; the names are lent.
        unsafe { (*ctx.cast::<Vec<Metric>>()).push(Metric { output: output.text(), name: name.text(), value }) }
    }
    metrics::MetricSink { ctx: std::ptr::from_mut(collected).cast(), push }
}

/// Collects terms and their gradients into `collected`, which must outlive the call. Gradients before the first term are dropped.
pub(super) fn gradient_sink(collected: &mut Vec<TermWithGrad>) -> loss_with_grad::GradientSink {
    unsafe extern "C" fn term(ctx: *mut c_void, term: *const abi::Term) {
        // SAFETY: `ctx` is what `gradient_sink` borrowed; the term is lent, its tensors are handed over.
        unsafe { (*ctx.cast::<Vec<TermWithGrad>>()).push(TermWithGrad { term: take_term(&*term), gradients: Outputs::new() }) }
    }
    unsafe extern "C" fn gradient(ctx: *mut c_void, output: *const Named) {
        // SAFETY: as above.
        unsafe {
            let (name, levels) = ((*output).name.text(), abi::slice((*output).levels.ptr, (*output).levels.len));
            // All are taken, so that none leaks.
            let levels: Vec<Tensor> = levels.iter().map(|level| take(*level).unwrap_or_default()).collect();
            if let Some(last) = (*ctx.cast::<Vec<TermWithGrad>>()).last_mut() {
                levels.into_iter().for_each(|level| last.gradients.push(&name, level));
            }
        }
    }
    loss_with_grad::GradientSink { ctx: std::ptr::from_mut(collected).cast(), term, gradient }
}
