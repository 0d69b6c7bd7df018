//! What libtorch offers only to C++: guards over its thread-wide modes and generators here, operations on many tensors at once in
//! `many`; `shim.cpp` is the only C++ of the host.
//!
//! Every guard puts back what it found when it is dropped, so that neither an early return nor a plugin leaves a mode changed.

mod many;

use std::ffi::{CStr, c_char, c_int, c_void};
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

pub use many::{Adam, AdamState, adam, clear_gradients, clip_gradients, lerp, sgd, swap, versions};

/// libtorch refused a request of the shim.
#[derive(Debug, thiserror::Error)]
#[error("libtorch: {0}")]
pub struct Error(String);

impl Error {
    /// Whether the device has no memory left.
    pub fn is_out_of_memory(&self) -> bool {
        says_out_of_memory(&self.0)
    }
}

/// Whether a message of libtorch, which is all that it gives, is about memory: `CUDA out of memory. Tried to allocate …`.
pub fn says_out_of_memory(message: &str) -> bool {
    message.contains("out of memory")
}

/// Modes that a call may leave changed: gradients, autocast, number of threads, choice of deterministic algorithms.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    grad: c_int,
    autocast_cpu: c_int,
    autocast_cpu_type: c_int,
    autocast_cuda: c_int,
    autocast_cuda_type: c_int,
    threads: c_int,
    deterministic: c_int,
    warn_only: c_int,
    cudnn_deterministic: c_int,
    cudnn_benchmark: c_int,
}

unsafe extern "C" {
    fn shim_free(text: *mut c_char);
    fn shim_modes_read(out: *mut Modes);
    fn shim_modes_write(modes: *const Modes, error: *mut *mut c_char) -> c_int;
    fn shim_autocast_enter(device: c_int, half: c_int, error: *mut *mut c_char) -> c_int;
    fn shim_autocast_leave(error: *mut *mut c_char) -> c_int;
    fn shim_generator_seed(device: c_int, seed: u64, state: *mut *mut c_void, error: *mut *mut c_char) -> c_int;
    fn shim_generator_digest(device: c_int, digest: *mut u64, error: *mut *mut c_char) -> c_int;
    fn shim_generator_restore(device: c_int, state: *mut c_void, error: *mut *mut c_char) -> c_int;
    fn shim_fill_normal(tensor: *const C_tensor, deviation: f64, seed: u64, error: *mut *mut c_char) -> c_int;
}

/// −1 for the CPU, the index for CUDA.
fn index(device: Device) -> c_int {
    match device {
        Device::Cuda(index) => c_int::try_from(index).unwrap_or(c_int::MAX),
        _ => -1,
    }
}

fn check(call: impl FnOnce(*mut *mut c_char) -> c_int) -> Result<(), Error> {
    let mut message = std::ptr::null_mut();
    if call(&mut message) == 0 {
        return Ok(());
    }
    // SAFETY: on failure the shim hands over a C string that `shim_free` frees.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        shim_free(message);
        text
    };
    Err(Error(text.lines().next().unwrap_or_default().to_owned()))
}

impl Modes {
    /// The modes as they are.
    pub fn read() -> Self {
        let mut modes = Self::default();
        // SAFETY: `out` is a valid, writable struct of the same layout.
        unsafe { shim_modes_read(&mut modes) };
        modes
    }

    /// Sets them.
    pub fn write(&self) -> Result<(), Error> {
        // SAFETY: a valid struct of the same layout.
        check(|error| unsafe { shim_modes_write(self, error) })
    }
}

/// Puts the thread's modes back when dropped.
#[derive(Debug)]
pub struct KeepModes(Modes);

impl KeepModes {
    /// Remembers the modes as they are.
    pub fn new() -> Self {
        Self(Modes::read())
    }

    /// Whether they have been changed since.
    pub fn changed(&self) -> bool {
        Modes::read() != self.0
    }
}

impl Default for KeepModes {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for KeepModes {
    fn drop(&mut self) {
        if self.changed()
            && let Err(error) = self.0.write()
        {
            log::error!("cannot restore libtorch's modes: {error}");
        }
    }
}

/// Autocast to bfloat16, or to float16, while it lives. One forward pass a region: weights that change inside it are seen stale.
#[derive(Debug)]
pub struct Autocast(#[expect(dead_code, reason = "its drop restores the modes")] KeepModes);

impl Autocast {
    /// Enters autocast on `device`; `half` is float16.
    pub fn enter(device: Device, half: bool) -> Result<Self, Error> {
        let before = KeepModes::new();
        // SAFETY: no pointers but `error`.
        check(|error| unsafe { shim_autocast_enter(index(device), half.into(), error) })?;
        Ok(Self(before))
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: no pointers but `error`.
        if let Err(error) = check(|error| unsafe { shim_autocast_leave(error) }) {
            log::error!("cannot leave autocast: {error}");
        }
    }
}

/// The generators of the CPU and of `device`, seeded while it lives, and put back to where they were afterwards.
#[derive(Debug)]
pub struct Seeded(Vec<(c_int, *mut c_void)>);

impl Seeded {
    /// Seeds them.
    pub fn new(device: Device, seed: u64) -> Result<Self, Error> {
        let mut seeded = Self(Vec::with_capacity(2));
        for index in std::iter::once(-1).chain((index(device) >= 0).then_some(index(device))) {
            let mut state = std::ptr::null_mut();
            // SAFETY: `state` is writable; on success it is ours until it is restored.
            check(|error| unsafe { shim_generator_seed(index, seed, &mut state, error) })?;
            seeded.0.push((index, state));
        }
        Ok(seeded)
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        for (index, state) in self.0.drain(..) {
            // SAFETY: `state` came from `shim_generator_seed` for the same device, and is given back once.
            if let Err(error) = check(|error| unsafe { shim_generator_restore(index, state, error) }) {
                log::error!("cannot restore a random generator: {error}");
            }
        }
    }
}

/// A hash of the state of `device`'s generator: it changes with every draw.
pub fn generator_digest(device: Device) -> Result<u64, Error> {
    let mut digest = 0;
    // SAFETY: `digest` is writable.
    check(|error| unsafe { shim_generator_digest(index(device), &mut digest, error) })?;
    Ok(digest)
}

/// A tensor of f32 on the CPU, drawn from a normal distribution around 0: the same for the same `seed`, whatever other threads draw.
pub fn normal(shape: &[i64], deviation: f64, seed: u64) -> Result<Tensor, Error> {
    let tensor = Tensor::f_empty(shape, (Kind::Float, Device::Cpu)).map_err(|e| Error(e.to_string()))?;
    // SAFETY: the tensor lives, and nobody else has it.
    check(|error| unsafe { shim_fill_normal(tensor.as_ptr(), deviation, seed, error) })?;
    Ok(tensor)
}

/// A seed that depends on all of `parts` (SplitMix64, applied in turn).
pub fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}
