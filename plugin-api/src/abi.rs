//! The binary interface: plain `#[repr(C)]` data and one table of functions, the same for both doors.
//!
//! Rust plugins hand the table over as an `abi_stable` root module, whose layout check covers every type here; C and C++ plugins
//! return it from `trainer_plugin_entry_v1` (`include/trainer_plugin.h` declares the same structures). Nobody writes against this
//! module by hand: authors use [`Trainer`](crate::Trainer) and [`export_trainer!`](crate::export_trainer), the host its `plugin` folder.
//!
//! Rules that hold for every call:
//! - Inputs (strings, tensors, arrays) are borrowed for the call, and tensors among them are only read: other trainers may see the same ones.
//!   Tensors pushed into a sink belong to the receiver.
//! - A function returns [`OK`], or [`ERROR`] / [`PANIC`] after writing one message to its `error` sink. Nothing unwinds across.
//! - An instance is used by one thread at a time, which may change between calls; that of a target transform by several at once. After [`PANIC`] no call
//!   begins but `destroy`.
//! - The tables are frozen once released. New abilities are extensions, fetched by id.

use abi_stable::StableAbi;
use abi_stable::library::RootModule;
use abi_stable::sabi_types::VersionStrings;
use std::ffi::c_void;

/// Success.
pub const OK: i32 = 0;
/// The call failed; the `error` sink holds the message.
pub const ERROR: i32 = 1;
/// The call panicked (Rust) or threw (C++); the instance must not be used again.
pub const PANIC: i32 = 2;

/// The ELF section that holds a plugin's manifest.
pub const MANIFEST_SECTION: &str = ".trainer.plugin";
/// The symbol of the C door.
pub const C_ENTRY: &str = "trainer_plugin_entry_v1";

/// An `at::Tensor*`, which is what PyTorch's stable C interface calls `AtenTensorHandle`. May be null where the field says so.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorHandle(pub *mut c_void);

/// What `create` made: a trainer, or a target transform.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Instance(pub *mut c_void);

/// Borrowed bytes: UTF-8 text without a terminating zero, or opaque data where the field says so.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Str {
    /// First byte; may be dangling when `len` is 0.
    pub ptr: *const u8,
    /// Length in bytes.
    pub len: usize,
}

/// Borrowed tensors, finest level first where they are levels.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Tensors {
    /// First handle.
    pub ptr: *const TensorHandle,
    /// Number of handles.
    pub len: usize,
}

/// An output and its levels, finest first.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Named {
    /// Name of the output.
    pub name: Str,
    /// Its levels.
    pub levels: Tensors,
}

/// All outputs of a call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct NamedList {
    /// First output.
    pub ptr: *const Named,
    /// Number of outputs.
    pub len: usize,
}

/// Receives bytes (a message, JSON, state). May be called several times; the pieces are joined.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Sink {
    /// Passed back to `write`.
    pub ctx: *mut c_void,
    /// Takes one piece.
    pub write: unsafe extern "C" fn(ctx: *mut c_void, piece: Str),
}

/// Receives outputs, level by level, finest first. The tensor then belongs to the receiver.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct OutputSink {
    /// Passed back to `push`.
    pub ctx: *mut c_void,
    /// Takes one level of one output.
    pub push: unsafe extern "C" fn(ctx: *mut c_void, output: Str, level: TensorHandle),
}

/// One term of a loss.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Term {
    /// Names it in logs.
    pub name: Str,
    /// Its value, a scalar, without the weight.
    pub value: TensorHandle,
    /// Its weight as a scalar tensor, or null.
    pub weight_tensor: TensorHandle,
    /// Its weight as a number, where the tensor is null.
    pub weight: f64,
    /// The least that the value can be; minus infinity where there is no bound.
    pub lowest: f64,
    /// Samples of the batch that it is about; negative for all.
    pub samples: i64,
}

/// Receives the terms of a loss. Tensors then belong to the receiver.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct LossSink {
    /// Passed back to `push`.
    pub ctx: *mut c_void,
    /// Takes one term, which is borrowed for the call.
    pub push: unsafe extern "C" fn(ctx: *mut c_void, term: *const Term),
}

/// What the trunk hands to the heads.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Features {
    /// Decoder maps, finest first, `(B, C, [Z,] Y, X)`.
    pub decoder: Tensors,
    /// The last encoder stage.
    pub bottleneck: TensorHandle,
    /// Encoder maps, finest first, without the bottleneck.
    pub skips: Tensors,
}

/// Circumstances of a forward call.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Pass {
    /// How many levels of each output are wanted, finest first.
    pub levels: u32,
    /// 1 while training.
    pub training: u8,
    /// 1 under autocast.
    pub amp: u8,
}

/// One target of a batch.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Target {
    /// Name of the target.
    pub name: Str,
    /// Levels, finest first: labels i64 (B, 1, …), regions bool (B, R[+1: ignored], …), regression f32 (B, C, …), class i64 (B,).
    pub levels: Tensors,
    /// Per level bool (B, 1, …): where the target may be believed. Empty where that is everywhere.
    pub valid: Tensors,
    /// Bool (B,): which cases have this target.
    pub presence: TensorHandle,
}

/// What a loss is computed on.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Batch {
    /// Augmented input `(B, C, [Z,] Y, X)`.
    pub image: TensorHandle,
    /// Case identifiers, one a sample.
    pub cases: *const Str,
    /// Number of samples.
    pub n_cases: usize,
    /// The targets.
    pub targets: *const Target,
    /// Number of targets.
    pub n_targets: usize,
}

/// Where training stands.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct Step {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Iteration within the epoch, from 0.
    pub iteration: u64,
    /// Part of an accumulated step, from 0.
    pub micro_step: u64,
    /// Seed for whatever this step draws outside torch; torch's generators are already seeded from it.
    pub seed: u64,
    /// 0: training, 1: validation.
    pub phase: u32,
    /// Weights of the deep-supervision levels, finest first, of sum 1.
    pub level_weights: *const f64,
    /// Number of weights.
    pub n_levels: usize,
}

/// A request for a parameter or buffer.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ParamRequest {
    /// Unique within the plugin; the checkpoint's name is made from it.
    pub name: Str,
    /// 0: weight, 1: buffer (no gradient), 2: loss weight (own group, no decay, outside the clip norm).
    pub kind: u32,
    /// Sizes.
    pub shape: *const i64,
    /// Number of sizes.
    pub dims: usize,
    /// 0: Kaiming normal as nnU-Net, 1: constant, 2: normal. `init_value` is the constant or the standard deviation.
    pub init: u32,
    /// See `init`.
    pub init_value: f64,
    /// 1 where weight decay applies.
    pub decay: u8,
}

/// What the host offers. `log` may be called on any thread, at any time; `param` during `create`, on its thread.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct HostServices {
    /// Passed back to `param`.
    pub ctx: *mut c_void,
    /// Most verbose level that is wanted: 0 off, 1 error … 5 trace.
    pub log_level: u32,
    /// Logs a message under the plugin's name. Valid for the life of the process.
    pub log: unsafe extern "C" fn(plugin: Str, level: u32, file: Str, line: u32, message: Str),
    /// Creates a parameter; the handle shares the host's storage and belongs to the plugin.
    pub param: unsafe extern "C" fn(ctx: *mut c_void, request: *const ParamRequest, out: *mut TensorHandle, error: Sink) -> i32,
    /// Further services by id; null where unknown.
    pub extension: unsafe extern "C" fn(id: Str) -> *const c_void,
}

/// The table of a plugin.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Entry {
    /// Writes a [`Description`](crate::Description) as JSON.
    pub describe: unsafe extern "C" fn(out: Sink, error: Sink) -> i32,
    /// Makes a trainer for a [`Task`](crate::Task) (JSON) with its options (JSON).
    pub create: unsafe extern "C" fn(host: *const HostServices, task: Str, options: Str, out: *mut Instance, error: Sink) -> i32,
    /// Frees a trainer. The only call that may follow a panic.
    pub destroy: unsafe extern "C" fn(trainer: Instance),
    /// Writes the list of [`Output`](crate::Output)s as JSON. Constant for a trainer.
    pub outputs: unsafe extern "C" fn(trainer: Instance, out: Sink, error: Sink) -> i32,
    /// Heads.
    pub forward: unsafe extern "C" fn(trainer: Instance, features: *const Features, pass: *const Pass, out: OutputSink, error: Sink) -> i32,
    /// Loss terms.
    pub loss: unsafe extern "C" fn(
        trainer: Instance,
        outputs: NamedList,
        batch: *const Batch,
        step: *const Step,
        out: LossSink,
        error: Sink,
    ) -> i32,
    /// Logits to predictions, same shapes.
    pub activate: unsafe extern "C" fn(trainer: Instance, logits: NamedList, out: OutputSink, error: Sink) -> i32,
    /// An epoch begins: [`Epoch`](crate::Epoch) as JSON.
    pub epoch_start: unsafe extern "C" fn(trainer: Instance, epoch: Str, error: Sink) -> i32,
    /// An epoch has ended: [`EpochReport`](crate::EpochReport) as JSON.
    pub epoch_end: unsafe extern "C" fn(trainer: Instance, report: Str, error: Sink) -> i32,
    /// Writes what a checkpoint must hold beyond parameters and buffers.
    pub save_state: unsafe extern "C" fn(trainer: Instance, out: Sink, error: Sink) -> i32,
    /// Restores what `save_state` wrote.
    pub load_state: unsafe extern "C" fn(trainer: Instance, state: Str, error: Sink) -> i32,
    /// Further abilities by id (`trainer.NAME/REV`); null where unknown.
    pub extension: unsafe extern "C" fn(id: Str) -> *const c_void,
}

/// The Rust door: `abi_stable`'s root module. It may grow; [`Entry`] may not.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginRef, prefix_fields = PluginPrefix)))]
#[sabi(missing_field(option))]
pub struct Plugin {
    /// The table.
    #[sabi(last_prefix_field)]
    pub entry: &'static Entry,
}

impl RootModule for PluginRef {
    abi_stable::declare_root_module_statics! {PluginRef}
    const BASE_NAME: &'static str = "trainer_plugin";
    const NAME: &'static str = "trainer plugin";
    const VERSION_STRINGS: VersionStrings = abi_stable::package_version_strings!();
}

impl Str {
    /// Borrows `text`, which must outlive the call.
    pub fn new(text: &(impl AsRef<[u8]> + ?Sized)) -> Self {
        let bytes = text.as_ref();
        Self { ptr: bytes.as_ptr(), len: bytes.len() }
    }

    /// The bytes.
    ///
    /// # Safety
    /// `ptr` and `len` describe readable memory that outlives `'a`.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: the caller's promise.
        unsafe { slice(self.ptr, self.len) }
    }

    /// The text; invalid UTF-8 is replaced.
    ///
    /// # Safety
    /// As for [`Str::bytes`].
    pub unsafe fn text(self) -> String {
        // SAFETY: the caller's promise.
        String::from_utf8_lossy(unsafe { self.bytes() }).into_owned()
    }
}

impl Sink {
    /// A sink that appends to `buffer`, which must outlive its use.
    pub fn into_buffer(buffer: &mut Vec<u8>) -> Self {
        unsafe extern "C" fn write(ctx: *mut c_void, piece: Str) {
            // SAFETY: `ctx` is the buffer that `into_buffer` borrowed, `piece` is borrowed for the call.
            unsafe { (*ctx.cast::<Vec<u8>>()).extend_from_slice(piece.bytes()) }
        }
        Self { ctx: std::ptr::from_mut(buffer).cast(), write }
    }

    /// Writes one piece.
    pub fn send(&self, text: &(impl AsRef<[u8]> + ?Sized)) {
        // SAFETY: whoever made the sink promised that `ctx` is what `write` expects.
        unsafe { (self.write)(self.ctx, Str::new(text)) }
    }
}

/// A slice from a pointer that may be dangling or null when `len` is 0.
///
/// # Safety
/// `ptr` points to `len` readable values that outlive `'a`, unless `len` is 0.
pub unsafe fn slice<'a, T>(ptr: *const T, len: usize) -> &'a [T] {
    if len == 0 {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(ptr, len) }
}
