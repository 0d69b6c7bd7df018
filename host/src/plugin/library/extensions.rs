//! The extensions that this host knows: their tables, found once per trainer, and what their sinks collect.

use super::marshal::{take, take_term};
use super::null_function;
use gate::Reason;
use plugin_api::abi::{self, Entry, Named, Str};
use plugin_api::extensions::{Metric, TermWithGrad, loss_with_grad, metrics, target_transform};
use plugin_api::{Manifest, Outputs};
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

/// Checks that ids are compared by their lengths, and that what nobody knows is null.
pub(super) fn check_ids(entry: &Entry) -> Result<(), String> {
    for id in KNOWN {
        // Two places in memory: after the id comes a zero, as in a string of C, or not.
        let [terminated, followed] = ["\0", "!"].map(|end| format!("{id}{end}"));
        if has(entry, &terminated[..id.len()]) != has(entry, &followed[..id.len()]) {
            return Err(format!(
                "extension '{id}' is found only where a zero comes after its id: strings of this interface are not terminated; compare with \
                 tp_equals, not strcmp"
            ));
        }
    }
    match ["", "trainer.nothing/1", "trainer.metrics", "trainer.metrics/999"].into_iter().find(|id| has(entry, id)) {
        Some(id) => Err(format!("extension '{id}' is not null; a host would take it for a table")),
        None => Ok(()),
    }
}

/// Whether the plugin of `entry` has the extension `id`.
pub(super) fn has(entry: &Entry, id: &str) -> bool {
    !find(entry, id).is_null()
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
