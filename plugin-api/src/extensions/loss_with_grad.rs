//! `trainer.loss-with-grad/1`: a loss whose gradient is computed by hand.
//!
//! For losses whose graph would be too large, whose gradient is known in closed form, or whose value autograd cannot differentiate: kernels of one's own, sorted
//! or discrete computations. The host calls this instead of `loss`. Every term's value is logged as it is; in its place in the graph stands
//! `value + Σ gradient · (output − output)`, the second output being cut from the graph: a number equal to the value, with the given gradient. Weights
//! therefore work as with any other term.

use crate::abi::{self, Instance, LossSink, Named, NamedList, Sink, Str, TensorHandle, Tensors};
use crate::door::{give, guard, push_term, read_batch, read_outputs, read_step, the};
use crate::{Batch, Outputs, Result, Step, Term, Trainer};
use abi_stable::StableAbi;
use std::ffi::c_void;
use std::marker::PhantomData;
use tch::Tensor;

/// Its id.
pub const ID: &str = "trainer.loss-with-grad/1";

/// What the trait below becomes.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Table {
    /// Terms and their gradients. Outputs are in f32 without a graph; in validation gradients are not asked for and ignored.
    pub compute: unsafe extern "C" fn(
        trainer: Instance,
        outputs: NamedList,
        batch: *const abi::Batch,
        step: *const abi::Step,
        out: GradientSink,
        error: Sink,
    ) -> i32,
}

/// Receives terms with gradients.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct GradientSink {
    /// Passed back to both functions.
    pub ctx: *mut c_void,
    /// Takes a term, as in `loss`.
    pub term: unsafe extern "C" fn(ctx: *mut c_void, term: *const abi::Term),
    /// Takes ∂value/∂output of the term that was pushed last, f32 and as large as the level; names are borrowed, tensors handed over, null ones and
    /// levels that are not there stand for zero.
    pub gradient: unsafe extern "C" fn(ctx: *mut c_void, output: *const Named),
}

/// A term with its gradient.
#[derive(Debug)]
pub struct TermWithGrad {
    /// The term; its value needs no graph.
    pub term: Term,
    /// ∂value/∂output for the levels of every output, finest first, without the term's weight. Outputs and coarser levels that are missing have none.
    pub gradients: Outputs,
}

/// A loss whose gradient is computed by hand. Offer it with `const EXTENSIONS: &'static [Extension] = &[Extension::loss_with_grad::<Self>()];`;
/// [`Trainer::loss`] is then not called.
pub trait LossWithGrad: Trainer {
    /// Terms with their gradients. Outputs have no graph. In validation, gradients may be left out.
    fn loss_with_grad(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<TermWithGrad>>;
}

pub(super) struct Of<T>(PhantomData<T>);

impl<T: LossWithGrad> Of<T> {
    pub(super) const TABLE: Table = Table { compute: compute::<T> };
}

unsafe extern "C" fn compute<T: LossWithGrad>(
    trainer: Instance,
    outputs: NamedList,
    batch: *const abi::Batch,
    step: *const abi::Step,
    out: GradientSink,
    error: Sink,
) -> i32 {
    guard(error, || {
        // SAFETY: the rules of `abi` for every call.
        let (trainer, outputs, batch, step) =
            unsafe { (the::<T>(trainer), read_outputs(outputs), read_batch(&*batch), read_step(&*step)?) };
        for TermWithGrad { term, gradients } in trainer.loss_with_grad(&outputs, &batch, &step)? {
            push_term(term, LossSink { ctx: out.ctx, push: out.term });
            for (name, levels) in gradients {
                let handles: Vec<TensorHandle> = levels.into_iter().map(gradient_handle).collect();
                let output = Named { name: Str::new(&name), levels: Tensors { ptr: handles.as_ptr(), len: handles.len() } };
                // SAFETY: `ctx` belongs to the sink; the name is lent, the tensors are handed over.
                unsafe { (out.gradient)(out.ctx, &output) };
            }
        }
        Ok(())
    })
}

fn gradient_handle(gradient: Tensor) -> TensorHandle {
    if gradient.defined() { give(gradient) } else { TensorHandle(std::ptr::null_mut()) }
}
