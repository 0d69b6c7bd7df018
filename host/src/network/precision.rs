//! Arithmetic of trunk and heads, and which one suits a machine. Losses are always computed in f32.

use serde::{Deserialize, Serialize};
use tch::Device;

/// Arithmetic of trunk and heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    Fp32,
    /// bfloat16 autocast.
    Bf16,
    /// float16 autocast; training scales the loss, since small gradients would vanish.
    Fp16,
}

impl Precision {
    /// The fastest one that `device` computes natively: bfloat16 on CPUs with AVX512-BF16 (those with AMX have it, too) and on GPUs
    /// from compute capability 8.0 (Ampere), float16 on older GPUs, single precision on other CPUs.
    pub fn for_device(device: Device) -> Self {
        match device {
            Device::Cuda(index) if compute_capability(index).is_some_and(|(major, _)| major >= 8) => Self::Bf16,
            Device::Cuda(_) => Self::Fp16,
            _ if cpu_has_bf16() => Self::Bf16,
            _ => Self::Fp32,
        }
    }

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn cpu_has_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_has_bf16() -> bool {
    false
}

/// Compute capability of a GPU. libtorch tells it only to those that link its CUDA part; the driver tells everybody.
fn compute_capability(index: usize) -> Option<(i32, i32)> {
    use libloading::{Library, Symbol};
    use std::ffi::c_int;
    type Init = unsafe extern "C" fn(u32) -> c_int;
    type DeviceGet = unsafe extern "C" fn(*mut c_int, c_int) -> c_int;
    type DeviceGetAttribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;
    /// CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
    const CAPABILITY: [c_int; 2] = [75, 76];

    // SAFETY: the driver, which libtorch has loaded already; its functions have had these signatures since CUDA 5.
    unsafe {
        let driver = Library::new("libcuda.so.1").ok()?;
        let init: Symbol<Init> = driver.get(b"cuInit").ok()?;
        let device_get: Symbol<DeviceGet> = driver.get(b"cuDeviceGet").ok()?;
        let attribute: Symbol<DeviceGetAttribute> = driver.get(b"cuDeviceGetAttribute").ok()?;
        let (mut device, mut values) = (0, [0; 2]);
        let found = init(0) == 0 && device_get(&mut device, index.try_into().ok()?) == 0;
        let told = found && values.iter_mut().zip(CAPABILITY).all(|(value, which)| attribute(value, which, device) == 0);
        // The driver stays loaded: libtorch uses it.
        std::mem::forget(driver);
        told.then_some((values[0], values[1]))
    }
}
