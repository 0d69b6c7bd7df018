//! What the host offers to a plugin: its log, and parameters while a trainer is made.

use crate::network::{Error, Group, Parameters};
use plugin_api::Init;
use plugin_api::abi::{self, HostServices, ParamRequest, Sink, Str, TensorHandle};
use std::ffi::c_void;

/// The services, whose parameters are added to `parameters`, which must outlive their use.
pub(super) fn host_services(parameters: &mut Parameters) -> HostServices {
    HostServices { ctx: std::ptr::from_mut(parameters).cast(), param: create_parameter, ..services_without_parameters() }
}

/// The services of what has no parameters.
pub(super) fn services_without_parameters() -> HostServices {
    HostServices {
        ctx: std::ptr::null_mut(),
        log_level: log::max_level() as u32,
        log: log_record,
        param: refuse_parameter,
        extension: no_extension,
    }
}

unsafe extern "C" fn log_record(plugin: Str, level: u32, file: Str, line: u32, message: Str) {
    let level = log::Level::iter().nth((level as usize).saturating_sub(1)).unwrap_or(log::Level::Trace);
    // SAFETY: the strings are lent for the call.
    let (plugin, file, message) = unsafe { (plugin.text(), file.text(), message.text()) };
    let record = |args| {
        log::logger().log(&log::Record::builder().args(args).level(level).target(&plugin).file(Some(&file)).line(Some(line)).build())
    };
    record(format_args!("{message}"));
}

unsafe extern "C" fn create_parameter(ctx: *mut c_void, request: *const ParamRequest, out: *mut TensorHandle, error: Sink) -> i32 {
    // SAFETY: `ctx` is the `Parameters` that `create` borrowed mutably and uses in no other way during the call; the rest is lent.
    let (parameters, request) = unsafe { (&mut *ctx.cast::<Parameters>(), &*request) };
    // SAFETY: lent for the call.
    let (name, shape) = unsafe { (request.name.text(), abi::slice(request.shape, request.dims)) };
    let init = match request.init {
        0 => Init::KaimingNormal,
        1 => Init::Constant(request.init_value),
        2 => Init::Normal(request.init_value),
        other => {
            error.send(&format!("parameter '{name}': unknown initialisation {other}"));
            return abi::ERROR;
        }
    };
    let group = match request.kind {
        0 => Group::Heads,
        1 => Group::Buffer,
        2 => Group::LossWeights,
        other => {
            error.send(&Error::Parameter { name: name.to_string(), reason: format!("unknown kind {other}") }.to_string());
            return abi::ERROR;
        }
    };
    // A panic must not cross the border, and would end the program.
    let create = || parameters.create_for_plugin(&name, group, shape, init, request.decay != 0);
    let created = std::panic::catch_unwind(std::panic::AssertUnwindSafe(create));
    match created.unwrap_or_else(|_| Err(Error::Parameter { name: name.to_string(), reason: format!("shape {shape:?} cannot be made") })) {
        Ok(tensor) => {
            let mut tensor = std::mem::ManuallyDrop::new(tensor);
            // SAFETY: `out` is writable; the tensor now belongs to the plugin.
            unsafe { *out = TensorHandle(tensor.as_mut_ptr().cast()) };
            abi::OK
        }
        Err(e) => {
            error.send(&e.to_string());
            abi::ERROR
        }
    }
}

unsafe extern "C" fn refuse_parameter(_ctx: *mut c_void, _request: *const ParamRequest, _out: *mut TensorHandle, error: Sink) -> i32 {
    error.send("parameters belong to the trainer");
    abi::ERROR
}

unsafe extern "C" fn no_extension(_id: Str) -> *const c_void {
    std::ptr::null()
}
