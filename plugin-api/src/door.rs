//! The Rust door: a [`Trainer`] type as a table of C functions. `export_trainer!` is the way in.
//!
//! Every function here runs the trainer inside `guard`: errors become a message, panics become a message with the place where
//! they happened, and nothing unwinds into the host.

use crate::abi::{self, Entry, HostServices, Instance, LossSink, NamedList, OutputSink, Plugin, PluginRef, Sink, Str, TensorHandle};
use crate::error::first_line;
use crate::manifest::{LIBTORCH, running_libtorch};
use crate::task::Description;
use crate::{
    Batch, Features, Loss, Outputs, Params, Pass, Phase, Result, Step, Target, Term, Trainer, Weight, bail, extensions, logging, options,
};
use abi_stable::prefix_type::PrefixTypeTrait;
use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use tch::Tensor;

/// The root module of a plugin whose trainer is `T`.
pub fn root_module<T: Trainer + 'static>() -> PluginRef {
    Plugin { entry: &Table::<T>::ENTRY }.leak_into_prefix()
}

struct Table<T>(std::marker::PhantomData<T>);

impl<T: Trainer + 'static> Table<T> {
    const ENTRY: Entry = Entry {
        describe: describe::<T>,
        create: create::<T>,
        destroy: destroy::<T>,
        outputs: outputs::<T>,
        forward: forward::<T>,
        loss: loss::<T>,
        activate: activate::<T>,
        epoch_start: epoch_start::<T>,
        epoch_end: epoch_end::<T>,
        save_state: save_state::<T>,
        load_state: load_state::<T>,
        extension: extensions::find::<T>,
    };
}

thread_local! {
    /// Where the last panic of this thread happened; set by the hook, read by [`guard`].
    static PANIC_PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs `call`; an error or panic becomes one message in `error`.
pub(crate) fn guard(error: Sink, call: impl FnOnce() -> Result<()>) -> i32 {
    static HOOK: Once = Once::new();
    // This library's own copy of std: the host's hook is not touched.
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map_or_else(String::new, |at| format!("{}:{}", at.file(), at.line()));
            PANIC_PLACE.with_borrow_mut(|last| *last = place);
        }));
    });
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => abi::OK,
        Ok(Err(e)) => {
            error.send(&e.to_string());
            abi::ERROR
        }
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
            let place = PANIC_PLACE.with_borrow(String::clone);
            error.send(&format!("panicked at {place}: {}", first_line(text.unwrap_or("no message"))));
            abi::PANIC
        }
    }
}

unsafe extern "C" fn describe<T: Trainer>(out: Sink, error: Sink) -> i32 {
    guard(error, || {
        out.send(&serde_json::to_string(&Description { schema: options::schema::<T::Options>() })?);
        Ok(())
    })
}

unsafe extern "C" fn create<T: Trainer>(host: *const HostServices, task: Str, options: Str, out: *mut Instance, error: Sink) -> i32 {
    guard(error, || {
        // SAFETY: the host lends its services and the two strings for the call.
        let (host, task, options) = unsafe { (&*host, task.text(), options.text()) };
        let running = running_libtorch();
        if !LIBTORCH.starts_with(&format!("{running}.")) {
            bail!("is built for libtorch {LIBTORCH}, but runs in {running}");
        }
        logging::forward_to::<T>(host);
        let trainer = T::new(&serde_json::from_str(&task)?, options::parse(&options)?, &mut Params::new(host))?;
        // SAFETY: `out` is writable.
        unsafe { *out = Instance(Box::into_raw(Box::new(trainer)).cast()) };
        Ok(())
    })
}

/// Frees what `create` made: a trainer, or a target transform.
pub(crate) unsafe extern "C" fn destroy<T>(instance: Instance) {
    // There is nobody to tell: a failing destructor leaks what it could not free.
    let mut unheard = Vec::new();
    guard(Sink::into_buffer(&mut unheard), || {
        // SAFETY: made by `create`, and this is the last call.
        drop(unsafe { Box::from_raw(instance.0.cast::<T>()) });
        Ok(())
    });
}

/// # Safety
/// `trainer` was made by `create::<T>` and is used by this call alone.
pub(crate) unsafe fn the<'a, T>(trainer: Instance) -> &'a mut T {
    // SAFETY: the caller's promise.
    unsafe { &mut *trainer.0.cast::<T>() }
}

unsafe extern "C" fn outputs<T: Trainer>(trainer: Instance, out: Sink, error: Sink) -> i32 {
    guard(error, || {
        // SAFETY: the rules of `abi` for every call.
        out.send(&serde_json::to_string(unsafe { the::<T>(trainer) }.outputs())?);
        Ok(())
    })
}

unsafe extern "C" fn forward<T: Trainer>(
    trainer: Instance,
    features: *const abi::Features,
    pass: *const abi::Pass,
    out: OutputSink,
    error: Sink,
) -> i32 {
    guard(error, || {
        // SAFETY: the rules of `abi` for every call.
        let (trainer, features, pass) = unsafe { (the::<T>(trainer), &*features, &*pass) };
        // SAFETY: borrowed for the call.
        let features = unsafe {
            Features { decoder: borrow_all(features.decoder), bottleneck: borrow(features.bottleneck), skips: borrow_all(features.skips) }
        };
        let pass = Pass { training: pass.training != 0, levels: pass.levels as usize, amp: pass.amp != 0 };
        push_outputs(trainer.forward(&features, &pass)?, out);
        Ok(())
    })
}

unsafe extern "C" fn loss<T: Trainer>(
    trainer: Instance,
    outputs: NamedList,
    batch: *const abi::Batch,
    step: *const abi::Step,
    out: LossSink,
    error: Sink,
) -> i32 {
    guard(error, || {
        // SAFETY: the rules of `abi` for every call.
        let (trainer, outputs, batch, step) =
            unsafe { (the::<T>(trainer), read_outputs(outputs), read_batch(&*batch), read_step(&*step)?) };
        let Loss { terms } = trainer.loss(&outputs, &batch, &step)?;
        terms.into_iter().for_each(|term| push_term(term, out));
        Ok(())
    })
}

unsafe extern "C" fn activate<T: Trainer>(trainer: Instance, logits: NamedList, out: OutputSink, error: Sink) -> i32 {
    guard(error, || {
        // SAFETY: the rules of `abi` for every call.
        let (trainer, logits) = unsafe { (the::<T>(trainer), read_outputs(logits)) };
        push_outputs(trainer.activate(logits)?, out);
        Ok(())
    })
}

unsafe extern "C" fn epoch_start<T: Trainer>(trainer: Instance, epoch: Str, error: Sink) -> i32 {
    // SAFETY: the rules of `abi` for every call.
    guard(error, || unsafe { the::<T>(trainer).epoch_start(&serde_json::from_slice(epoch.bytes())?) })
}

unsafe extern "C" fn epoch_end<T: Trainer>(trainer: Instance, report: Str, error: Sink) -> i32 {
    // SAFETY: the rules of `abi` for every call.
    guard(error, || unsafe { the::<T>(trainer).epoch_end(&serde_json::from_slice(report.bytes())?) })
}

unsafe extern "C" fn save_state<T: Trainer>(trainer: Instance, out: Sink, error: Sink) -> i32 {
    guard(error, || {
        // SAFETY: the rules of `abi` for every call.
        out.send(&unsafe { the::<T>(trainer) }.save_state()?);
        Ok(())
    })
}

unsafe extern "C" fn load_state<T: Trainer>(trainer: Instance, state: Str, error: Sink) -> i32 {
    // SAFETY: the rules of `abi` for every call.
    guard(error, || unsafe { the::<T>(trainer).load_state(state.bytes()) })
}

/// A tensor of our own that shares what `handle` refers to.
unsafe fn borrow(handle: TensorHandle) -> Tensor {
    // SAFETY: the caller lends a valid `at::Tensor*`; the clone counts its own reference.
    unsafe { Tensor::clone_from_ptr(handle.0.cast()) }
}

unsafe fn borrow_all(handles: abi::Tensors) -> Vec<Tensor> {
    // SAFETY: the caller lends the array and its tensors.
    unsafe { abi::slice(handles.ptr, handles.len).iter().map(|handle| borrow(*handle)).collect() }
}

/// Hands a tensor over.
pub(crate) fn give(tensor: Tensor) -> TensorHandle {
    TensorHandle(ManuallyDrop::new(tensor).as_mut_ptr().cast())
}

pub(crate) fn push_term(term: Term, out: LossSink) {
    let (weight, weight_tensor) = match term.weight {
        Weight::Number(weight) => (weight, TensorHandle(std::ptr::null_mut())),
        Weight::Learned(tensor) => (f64::NAN, give(tensor)),
    };
    let samples = term.samples.map_or(-1, |samples| i64::try_from(samples).unwrap_or(i64::MAX));
    let name = Str::new(&term.name);
    let term = abi::Term { name, value: give(term.value), weight_tensor, weight, lowest: term.lowest, samples };
    // SAFETY: `ctx` belongs to the sink; the name is lent, the tensors are handed over.
    unsafe { (out.push)(out.ctx, &term) };
}

fn push_outputs(outputs: Outputs, out: OutputSink) {
    for (name, levels) in outputs {
        for level in levels {
            // SAFETY: `ctx` belongs to the sink; the tensor is handed over.
            unsafe { (out.push)(out.ctx, Str::new(&name), give(level)) };
        }
    }
}

pub(crate) unsafe fn read_outputs(list: NamedList) -> Outputs {
    let mut outputs = Outputs::new();
    // SAFETY: the caller lends the list and everything in it.
    unsafe {
        for named in abi::slice(list.ptr, list.len) {
            let name = named.name.text();
            borrow_all(named.levels).into_iter().for_each(|level| outputs.push(&name, level));
        }
    }
    outputs
}

pub(crate) unsafe fn read_batch(batch: &abi::Batch) -> Batch {
    // SAFETY: the caller lends the batch and everything in it.
    unsafe {
        let target = |t: &abi::Target| {
            (t.name.text(), Target { levels: borrow_all(t.levels), valid: borrow_all(t.valid), presence: borrow(t.presence) })
        };
        Batch {
            image: borrow(batch.image),
            cases: abi::slice(batch.cases, batch.n_cases).iter().map(|case| case.text()).collect(),
            targets: abi::slice(batch.targets, batch.n_targets).iter().map(target).collect(),
        }
    }
}

pub(crate) unsafe fn read_step(step: &abi::Step) -> Result<Step> {
    // SAFETY: the caller lends the weights.
    let weights = unsafe { abi::slice(step.level_weights, step.n_levels) }.to_vec();
    Ok(Step {
        epoch: step.epoch,
        iteration: step.iteration,
        micro_step: step.micro_step,
        seed: step.seed,
        phase: read_phase(step.phase)?,
        deep_supervision_weights: weights,
    })
}

pub(crate) fn read_phase(phase: u32) -> Result<Phase> {
    match phase {
        0 => Ok(Phase::Train),
        1 => Ok(Phase::Validate),
        other => bail!("unknown phase {other}"),
    }
}
