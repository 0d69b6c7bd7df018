//! The shared library as a [`TrainerBackend`]: the only folder that knows the binary interface, its integers included.
//!
//! A library that has passed the gate is loaded here through the Rust door where it has one, else through the C door, and never unloaded. `trainer` and
//! `transform` make its calls; `services` is what it may call, `marshal` turns tensors into borrowed C structures and back, `extensions` finds what else
//! it offers.

mod extensions;
mod marshal;
mod services;
mod trainer;
mod transform;

pub(super) use extensions::KNOWN as KNOWN_EXTENSIONS;

use super::backend::{Failure, MadeTransform, Plugin, TrainerBackend, TrainerCalls};
use crate::network::Parameters;

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::library::{LibHeader, lib_header_from_path};
use gate::{Host, LibraryFile, LoadError, PluginIdentity, Reason};
use libloading::os::unix::{Library as RawLibrary, RTLD_LOCAL, RTLD_NOW};
use plugin_api::abi::{self, C_ENTRY, Entry, PluginRef, Sink};
use plugin_api::{Description, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Symbol of `abi_stable`'s library header; a library without it has no Rust door.
const RUST_ENTRY: &str = "_1as_0lib_1header_0root_bmodule_bloader";

/// A loaded library. Libraries stay loaded for the life of the process, since threads, registered operators and function tables of a library outlive
/// any use that could be tracked.
struct Library {
    identity: PluginIdentity,
    entry: &'static Entry,
}

impl std::fmt::Debug for Library {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Library").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Checks and loads the library at `path`.
///
/// # Errors
/// When it is refused, or is not what its manifest says.
pub fn load(path: &Path, host: &Host) -> Result<Plugin, LoadError> {
    load_file(LibraryFile::read(path)?, host)
}

/// Checks and loads what was read, whatever has become of the file since.
///
/// # Errors
/// When it is refused, or is not what its manifest says.
pub fn load_file(file: LibraryFile, host: &Host) -> Result<Plugin, LoadError> {
    if let Some(warning) = file.admit(host)? {
        log::warn!("{warning}");
    }
    match entry(&file) {
        Ok(entry) => Ok(Arc::new(Library { identity: file.identity, entry })),
        Err(reason) => Err(LoadError { path: file.identity.path, reason }),
    }
}

impl TrainerBackend for Library {
    fn identity(&self) -> &PluginIdentity {
        &self.identity
    }

    fn extensions(&self) -> Vec<&'static str> {
        KNOWN_EXTENSIONS.into_iter().filter(|id| extensions::has(self.entry, id)).collect()
    }

    fn check_answers(&self) -> Result<(), String> {
        extensions::check_ids(self.entry)
    }

    fn describe(&self) -> Result<Description, Failure> {
        let described = text(|out, error| {
            // SAFETY: both sinks outlive the call.
            unsafe { (self.entry.describe)(out, error) }
        })?;
        from_json(&described)
    }

    fn trainer(&self, task: &Task, options: &Value, parameters: &mut Parameters) -> Result<Box<dyn TrainerCalls>, Failure> {
        Ok(Box::new(trainer::LibraryTrainer::create(self.entry, task, options, parameters)?))
    }

    fn transform(&self, task: &Task, options: &Value) -> Result<Option<MadeTransform>, Failure> {
        transform::create(self.entry, task, options)
    }
}

/// Makes a call that returns a status, with a sink for its message.
fn call(body: impl FnOnce(Sink) -> i32) -> Result<(), Failure> {
    let mut message = Vec::new();
    let status = body(Sink::into_buffer(&mut message));
    if status == abi::OK {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&message);
    let message = message.lines().next().unwrap_or("no message");
    let panicked = status == abi::PANIC;
    Err(Failure { message: if panicked { message.to_owned() } else { format!("failed: {message}") }, panicked })
}

/// The same of a call that writes bytes.
fn text(body: impl FnOnce(Sink, Sink) -> i32) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    call(|error| body(Sink::into_buffer(&mut out), error))?;
    Ok(out)
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|e| Failure::returned(format_args!("broken JSON: {e}")))
}

/// JSON of our own plain types, whose serialisation cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain data")
}

/// The entry of a library, loaded at its first call: one that is loaded twice would have its statics twice, and operators that it registers
/// in libtorch would end the program.
fn entry(file: &LibraryFile) -> Result<&'static Entry, Reason> {
    static LOADED: Mutex<Option<HashMap<String, &'static Entry>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = loaded.get_or_insert_default();
    if let Some(entry) = loaded.get(&file.identity.sha256) {
        return Ok(entry);
    }
    // The descriptor is kept for ever, also where the library is refused: the dynamic loader knows the library by this name, and
    // would give it out again for another one that got the same number.
    let descriptor = file.sealed_copy()?.into_raw_fd();
    let entry = open(&PathBuf::from(format!("/proc/self/fd/{descriptor}")))?;
    extensions::check(entry)?;
    extensions::check_promised(entry, &file.identity.manifest)?;
    loaded.insert(file.identity.sha256.clone(), entry);
    Ok(entry)
}

fn open(path: &Path) -> Result<&'static Entry, Reason> {
    // RTLD_NOW: missing symbols are found here and not in the middle of a training.
    // SAFETY: initialisers of the library run; that a plugin is trusted code is the point of the gate.
    let library = unsafe { RawLibrary::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|e| Reason::Dlopen(dlopen_reason(&e)))?;
    // SAFETY: the symbols are only compared with null or used with the type that their doors prescribe.
    let entry = unsafe {
        if library.get::<*const ()>(RUST_ENTRY.as_bytes()).is_ok() {
            rust_door(path)
        } else {
            match library.get::<unsafe extern "C" fn() -> *const Entry>(C_ENTRY.as_bytes()) {
                Ok(symbol) => c_door(symbol()),
                Err(_) => Err(Reason::NoEntry),
            }
        }
    };
    std::mem::forget(library);
    entry
}

/// The table of a C library, once no function of it is null.
///
/// # Safety
/// `entry` is null or points to a table that lives as long as the process.
unsafe fn c_door(entry: *const Entry) -> Result<&'static Entry, Reason> {
    if entry.is_null() {
        return Err(Reason::NoEntry);
    }
    // SAFETY: the caller's promise.
    match unsafe { null_function(entry) } {
        Some(index) => Err(Reason::NullFunction(index)),
        // SAFETY: not null, and no function pointer in it is.
        None => Ok(unsafe { &*entry }),
    }
}

/// The first function of `table` that is null.
///
/// # Safety
/// `table` points to a `Table` that can be read, and is nothing but function pointers.
unsafe fn null_function<Table>(table: *const Table) -> Option<usize> {
    // SAFETY: the caller's promise; function pointers may be looked at as numbers.
    let functions = unsafe { std::slice::from_raw_parts(table.cast::<usize>(), size_of::<Table>() / size_of::<usize>()) };
    functions.iter().position(|function| *function == 0)
}

fn rust_door(path: &Path) -> Result<&'static Entry, Reason> {
    let header = lib_header_from_path(path).map_err(|e| Reason::Layout(last_line(&e.to_string())))?;
    check_layout(header)?;
    // SAFETY: the layout has just been checked, in both directions.
    let plugin =
        unsafe { header.init_root_module_with_unchecked_layout::<PluginRef>() }.map_err(|e| Reason::Layout(last_line(&e.to_string())))?;
    Ok(plugin.entry())
}

/// The stock check refuses every plugin that is older than a host whose root module has grown, so either direction will do.
fn check_layout(header: &LibHeader) -> Result<(), Reason> {
    let theirs = header.layout().ok_or_else(|| Reason::Layout("the library carries no layout".to_owned()))?;
    let ours = <PluginRef as StableAbi>::LAYOUT;
    check_layout_compatibility(ours, theirs).or_else(|e| {
        let reverse = check_layout_compatibility(theirs, ours);
        reverse.map_err(|_| Reason::Layout(layout_difference(&e.to_string())))
    })
}

/// The first difference in `abi_stable`'s long report: "Error:WHAT", "Expected:", a value, "Found:", a value, a line each.
fn layout_difference(report: &str) -> String {
    let mut lines = report.lines().map(str::trim).filter(|line| !line.is_empty());
    let Some(what) = lines.find_map(|line| line.strip_prefix("Error:")) else {
        return last_line(report);
    };
    let value = |heading: &str| lines.clone().skip_while(|line| *line != heading).nth(1).unwrap_or("unknown");
    format!("{what}: expected {}, found {}", value("Expected:"), value("Found:"))
}

fn last_line(text: &str) -> String {
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

fn dlopen_reason(error: &libloading::Error) -> String {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        text = source.to_string();
    }
    // It quotes names from the library.
    text.replace(char::is_control, " ")
}
