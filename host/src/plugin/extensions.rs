//! The extensions that this host knows: their tables, found once per trainer, and what their sinks collect.

use super::marshal::take;
use plugin_api::Outputs;
use plugin_api::abi::{self, Entry, Named, Str};
use plugin_api::extensions::{Metric, TermWithGrad, loss_with_grad, metrics};
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

/// What the plugin of `entry` returns for extension `id`; null where it has none.
pub(super) fn find(entry: &Entry, id: &str) -> *const c_void {
    // SAFETY: the id outlives the call.
    unsafe { (entry.extension)(Str::new(id)) }
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
        unsafe {
            (*ctx.cast::<Vec<TermWithGrad>>()).push(TermWithGrad { term: super::marshal::take_term(&*term), gradients: Outputs::new() })
        }
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
