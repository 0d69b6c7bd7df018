//! Which device computes.
//!
//! `libtorch_cuda` is not linked, so that the program starts without it. libtorch looks for CUDA once a process, at the first
//! question, so the library has to be loaded before anyone asks.

use tch::Device;

/// The requested device cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a device's name.
    #[error("unknown device '{0}'; expected auto, cpu, cuda or cuda:N")]
    Unknown(String),
    /// CUDA's libraries are not installed.
    #[error("--device {spec}: CUDA cannot be loaded ({reason}); install it with: cargo run --package setup -- install --cuda")]
    NoCuda {
        /// As asked for.
        spec: String,
        /// What the dynamic loader says.
        reason: String,
    },
    /// There is no such GPU.
    #[error("--device {spec}: libtorch sees {count} CUDA devices; is the driver installed, and the number below the count?")]
    NoDevice {
        /// As asked for.
        spec: String,
        /// GPUs that there are.
        count: i64,
    },
}

/// The device that `spec` means: `auto`, `cpu`, `cuda` or `cuda:N`.
pub fn select(spec: &str) -> Result<Device, Error> {
    let index = match spec {
        "cpu" => return Ok(Device::Cpu),
        "auto" => return Ok(if load_cuda().is_ok() && tch::Cuda::device_count() > 0 { Device::Cuda(0) } else { Device::Cpu }),
        "cuda" => 0,
        _ => spec.strip_prefix("cuda:").and_then(|n| n.parse().ok()).ok_or_else(|| Error::Unknown(spec.to_owned()))?,
    };
    load_cuda().map_err(|reason| Error::NoCuda { spec: spec.to_owned(), reason })?;
    let count = tch::Cuda::device_count();
    if index as i64 >= count {
        return Err(Error::NoDevice { spec: spec.to_owned(), count });
    }
    Ok(Device::Cuda(index))
}

/// The name that a task has for `device`.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "cpu".to_owned(),
    }
}

fn load_cuda() -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: a part of libtorch, whose initialisers register CUDA with the part that is already loaded.
    match unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(error) => Err(std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string)),
    }
}
