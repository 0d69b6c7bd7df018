//! `trainer.metrics/1`: online metrics of the plugin's own.
//!
//! After every validation batch the host asks for numbers, each of one output. The mean over an epoch's batches stands in `metrics.jsonl` and in TensorBoard
//! beside the host's own; a batch whose number is NaN had nothing to measure and is left out. The best epoch is still chosen by the host's metric.

use crate::abi::{self, Instance, NamedList, Sink, Str};
use crate::door::{guard, read_batch, read_outputs, read_step, the};
use crate::{Batch, Outputs, Result, Step, Trainer};
use abi_stable::StableAbi;
use std::ffi::c_void;
use std::marker::PhantomData;

/// Its id.
pub const ID: &str = "trainer.metrics/1";

/// What the trait below becomes.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Table {
    /// Numbers of one validation batch. Outputs are logits in f32, as in `loss`; gradients are off.
    pub compute: unsafe extern "C" fn(
        trainer: Instance,
        outputs: NamedList,
        batch: *const abi::Batch,
        step: *const abi::Step,
        out: MetricSink,
        error: Sink,
    ) -> i32,
}

/// Receives metrics.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct MetricSink {
    /// Passed back to `push`.
    pub ctx: *mut c_void,
    /// Takes one; both names are borrowed for the call.
    pub push: unsafe extern "C" fn(ctx: *mut c_void, output: Str, name: Str, value: f64),
}

/// A number that says something of one output.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// One of the trainer's outputs.
    pub output: String,
    /// What is measured, e.g. `volume_error`; not a name that the host uses (`dice`, `dice_<class>`, `mae`, `accuracy`).
    pub name: String,
    /// The number; NaN where there was nothing to measure.
    pub value: f64,
}

/// Online metrics of the plugin's own. Offer them with `const EXTENSIONS: &'static [Extension] = &[Extension::metrics::<Self>()];`.
///
/// ```
/// use plugin_api::extensions::{Extension, Metric, Metrics};
/// # use plugin_api::{Base, Batch, JsonSchema, Outputs, Params, Result, Step, Task, Trainer};
/// # #[derive(serde::Deserialize, JsonSchema)]
/// # #[schemars(crate = "plugin_api::schemars")]
/// # struct Options {}
/// struct Mine(Base);
///
/// impl Trainer for Mine {
///     type Options = Options;
///     const EXTENSIONS: &'static [Extension] = &[Extension::metrics::<Self>()];
///     // …
/// #   fn new(task: &Task, _: Options, params: &mut Params) -> Result<Self> { Ok(Self(Base::single(task, params)?)) }
/// #   fn base(&self) -> &Base { &self.0 }
/// }
///
/// impl Metrics for Mine {
///     /// How much of the patch is predicted to be foreground.
///     fn metrics(&mut self, outputs: &Outputs, _batch: &Batch, _step: &Step) -> Result<Vec<Metric>> {
///         let finest = &outputs.get("segmentation")?[0];
///         let value = f64::try_from(finest.f_argmax(1, false)?.f_gt(0)?.f_mean(plugin_api::tch::Kind::Float)?)?;
///         Ok(vec![Metric { output: "segmentation".into(), name: "foreground".into(), value }])
///     }
/// }
/// ```
///
/// Without the entry in `EXTENSIONS` it would never be called, so such a trainer does not compile:
///
/// ```compile_fail
/// # use plugin_api::extensions::{Metric, Metrics};
/// # use plugin_api::{Base, Batch, JsonSchema, Outputs, Params, Result, Step, Task, Trainer};
/// # #[derive(serde::Deserialize, JsonSchema)]
/// # #[schemars(crate = "plugin_api::schemars")]
/// # struct Options {}
/// # struct Mine(Base);
/// # impl Trainer for Mine {
/// #   type Options = Options;
/// #   fn new(task: &Task, _: Options, params: &mut Params) -> Result<Self> { Ok(Self(Base::single(task, params)?)) }
/// #   fn base(&self) -> &Base { &self.0 }
/// # }
/// impl Metrics for Mine {
///     fn metrics(&mut self, _: &Outputs, _: &Batch, _: &Step) -> Result<Vec<Metric>> {
///         Ok(Vec::new())
///     }
/// }
/// plugin_api::export_trainer!(Mine);
/// ```
///
/// The same with the entry:
///
/// ```
/// # use plugin_api::extensions::{Extension, Metric, Metrics};
/// # use plugin_api::{Base, Batch, JsonSchema, Outputs, Params, Result, Step, Task, Trainer};
/// # #[derive(serde::Deserialize, JsonSchema)]
/// # #[schemars(crate = "plugin_api::schemars")]
/// # struct Options {}
/// # struct Mine(Base);
/// # impl Trainer for Mine {
/// #   type Options = Options;
/// const EXTENSIONS: &'static [Extension] = &[Extension::metrics::<Self>()];
/// #   fn new(task: &Task, _: Options, params: &mut Params) -> Result<Self> { Ok(Self(Base::single(task, params)?)) }
/// #   fn base(&self) -> &Base { &self.0 }
/// # }
/// # impl Metrics for Mine {
/// #   fn metrics(&mut self, _: &Outputs, _: &Batch, _: &Step) -> Result<Vec<Metric>> { Ok(Vec::new()) }
/// # }
/// plugin_api::export_trainer!(Mine, requires = ["trainer.metrics/1"]);
/// # fn main() {}
/// ```
pub trait Metrics: Trainer {
    /// Numbers of one validation batch.
    fn metrics(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Vec<Metric>>;
}

pub(super) struct Of<T>(PhantomData<T>);

impl<T: Metrics> Of<T> {
    pub(super) const TABLE: Table = Table { compute: compute::<T> };
}

unsafe extern "C" fn compute<T: Metrics>(
    trainer: Instance,
    outputs: NamedList,
    batch: *const abi::Batch,
    step: *const abi::Step,
    out: MetricSink,
    error: Sink,
) -> i32 {
    guard(error, || {
        // SAFETY: the rules of `abi` for every call.
        let (trainer, outputs, batch, step) =
            unsafe { (the::<T>(trainer), read_outputs(outputs), read_batch(&*batch), read_step(&*step)?) };
        for Metric { output, name, value } in trainer.metrics(&outputs, &batch, &step)? {
            // SAFETY: `ctx` belongs to the sink; the names are lent.
            unsafe { (out.push)(out.ctx, Str::new(&output), Str::new(&name), value) };
        }
        Ok(())
    })
}
