//! Log records of the plugin arrive in the host's logger: every shared library has a `log` of its own.

use crate::abi::{HostServices, Str};
use std::sync::Once;

struct Forward {
    host: HostServices,
    plugin: &'static str,
}

// SAFETY: `log` may be called on any thread; `ctx`, the only pointer, is never used here.
unsafe impl Send for Forward {}
// SAFETY: as above.
unsafe impl Sync for Forward {}

impl log::Log for Forward {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record) {
        if self.enabled(record.metadata()) {
            let message = record.args().to_string();
            let file = record.file().unwrap_or("");
            // SAFETY: the host promises that `log` is valid for the life of the process; the strings outlive the call.
            unsafe {
                (self.host.log)(
                    Str::new(self.plugin),
                    record.level() as u32,
                    Str::new(file),
                    record.line().unwrap_or(0),
                    Str::new(&message),
                )
            };
        }
    }

    fn flush(&self) {}
}

/// Sends this library's records to the host, once, under the name of the crate of `T`.
pub(crate) fn forward_to<T>(host: &HostServices) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let level = log::LevelFilter::iter().nth(host.log_level as usize).unwrap_or(log::LevelFilter::Trace);
        let plugin = std::any::type_name::<T>().split("::").next().unwrap_or("plugin");
        // Fails where the library has set a logger of its own: then its records are its own business.
        if log::set_boxed_logger(Box::new(Forward { host: *host, plugin })).is_ok() {
            log::set_max_level(level);
        }
    });
}
