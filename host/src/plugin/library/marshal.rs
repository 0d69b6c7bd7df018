//! Tensors as borrowed C structures, and sinks that collect what a plugin hands back.
//!
//! A `Lent…` value owns the arrays that the C structure points into; it lives until the call is over.

use plugin_api::abi::{self, Named, NamedList, Str, TensorHandle, Tensors};
use plugin_api::{Batch, Features, Outputs, Phase, Step, Term, Weight};
use std::ffi::c_void;
use tch::Tensor;

/// The handle of a tensor that stays ours.
fn lend(tensor: &Tensor) -> TensorHandle {
    TensorHandle(tensor.as_ptr().cast_mut().cast())
}

fn lend_all(tensors: &[Tensor]) -> Vec<TensorHandle> {
    tensors.iter().map(lend).collect()
}

fn list(handles: &[TensorHandle]) -> Tensors {
    Tensors { ptr: handles.as_ptr(), len: handles.len() }
}

/// Features as C has them.
pub(super) struct LentFeatures {
    decoder: Vec<TensorHandle>,
    bottleneck: TensorHandle,
    skips: Vec<TensorHandle>,
}

impl LentFeatures {
    pub fn new(features: &Features) -> Self {
        Self { decoder: lend_all(&features.decoder), bottleneck: lend(&features.bottleneck), skips: lend_all(&features.skips) }
    }

    pub fn as_c(&self) -> abi::Features {
        abi::Features { decoder: list(&self.decoder), bottleneck: self.bottleneck, skips: list(&self.skips) }
    }
}

/// Outputs as C has them. The handles' arrays do not move when the outer vectors do.
pub(super) struct LentOutputs {
    _levels: Vec<Vec<TensorHandle>>,
    named: Vec<Named>,
}

impl LentOutputs {
    pub fn new(outputs: &Outputs) -> Self {
        let levels: Vec<Vec<TensorHandle>> = outputs.iter().map(|(_, levels)| lend_all(levels)).collect();
        let named = outputs.iter().zip(&levels).map(|((name, _), levels)| Named { name: Str::new(name), levels: list(levels) }).collect();
        Self { _levels: levels, named }
    }

    pub fn as_c(&self) -> NamedList {
        NamedList { ptr: self.named.as_ptr(), len: self.named.len() }
    }
}

/// A batch as C has it.
pub(super) struct LentBatch {
    image: TensorHandle,
    cases: Vec<Str>,
    _handles: Vec<[Vec<TensorHandle>; 2]>,
    targets: Vec<abi::Target>,
}

impl LentBatch {
    pub fn new(batch: &Batch) -> Self {
        let handles: Vec<_> = batch.targets.values().map(|target| [lend_all(&target.levels), lend_all(&target.valid)]).collect();
        let targets = batch.targets.iter().zip(&handles).map(|((name, target), [levels, valid])| abi::Target {
            name: Str::new(name),
            levels: list(levels),
            valid: list(valid),
            presence: lend(&target.presence),
        });
        Self { image: lend(&batch.image), cases: batch.cases.iter().map(Str::new).collect(), targets: targets.collect(), _handles: handles }
    }

    pub fn as_c(&self) -> abi::Batch {
        abi::Batch {
            image: self.image,
            cases: self.cases.as_ptr(),
            n_cases: self.cases.len(),
            targets: self.targets.as_ptr(),
            n_targets: self.targets.len(),
        }
    }
}

/// A step as C has it; borrows `step`.
pub(super) fn step_as_c(step: &Step) -> abi::Step {
    abi::Step {
        epoch: step.epoch,
        iteration: step.iteration,
        micro_step: step.micro_step,
        seed: step.seed,
        phase: phase_as_c(step.phase),
        level_weights: step.deep_supervision_weights.as_ptr(),
        n_levels: step.deep_supervision_weights.len(),
    }
}

/// A phase as C has it.
pub(super) fn phase_as_c(phase: Phase) -> u32 {
    match phase {
        Phase::Train => 0,
        Phase::Validate => 1,
    }
}

/// A tensor that the plugin handed over; `None` for a null handle.
///
/// # Safety
/// `handle` is null or an owned `at::Tensor*`.
pub(super) unsafe fn take(handle: TensorHandle) -> Option<Tensor> {
    // SAFETY: the caller's promise.
    (!handle.0.is_null()).then(|| unsafe { Tensor::from_ptr(handle.0.cast()) })
}

/// Collects pushed outputs into `collected`, which must outlive the call. Null handles are left out and noticed by the check of shapes.
pub(super) fn output_sink(collected: &mut Outputs) -> abi::OutputSink {
    unsafe extern "C" fn push(ctx: *mut c_void, output: Str, level: TensorHandle) {
        // SAFETY: `ctx` is what `output_sink` borrowed; the name is lent, the tensor handed over.
        unsafe {
            if let Some(level) = take(level) {
                (*ctx.cast::<Outputs>()).push(&output.text(), level);
            }
        }
    }
    abi::OutputSink { ctx: std::ptr::from_mut(collected).cast(), push }
}

/// A term that the plugin handed over.
///
/// # Safety
/// Its name is readable; its tensors are owned or null.
pub(super) unsafe fn take_term(term: &abi::Term) -> Term {
    let abi::Term { name, value, weight_tensor, weight, lowest, samples } = *term;
    // SAFETY: the caller's promise.
    let (name, weight, value) =
        unsafe { (name.text(), take(weight_tensor).map_or(Weight::Number(weight), Weight::Learned), take(value).unwrap_or_default()) };
    Term { name, weight, value, lowest, samples: u64::try_from(samples).ok() }
}

/// Collects pushed terms into `collected`, which must outlive the call. A term without a value has an undefined tensor, which the check refuses.
pub(super) fn loss_sink(collected: &mut Vec<Term>) -> abi::LossSink {
    unsafe extern "C" fn push(ctx: *mut c_void, term: *const abi::Term) {
        // SAFETY: `ctx` is what `loss_sink` borrowed; the term is lent.
        unsafe { (*ctx.cast::<Vec<Term>>()).push(take_term(&*term)) }
    }
    abi::LossSink { ctx: std::ptr::from_mut(collected).cast(), push }
}
