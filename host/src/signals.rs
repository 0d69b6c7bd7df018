//! What signals do to the program. None is listened to before something needs that.

use data::scratch::Folders;
use host::environment::Stop;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;

/// The first Ctrl-C lets the current iteration end and saves; the second one ends the program.
pub fn stop(stop: Stop) -> io::Result<()> {
    const MESSAGE: &[u8] = b"stopping after this iteration; again to stop at once\n";
    let interrupted = move || {
        if !stop.ask() {
            signal_hook::low_level::exit(130);
        }
        // SAFETY: a system call on a string that lives for ever. Should nobody read it, nothing is lost.
        unsafe { libc::write(libc::STDERR_FILENO, MESSAGE.as_ptr().cast(), MESSAGE.len()) };
    };
    // SAFETY: this runs inside the signal handler, where an atomic, `write` and `_exit` are allowed.
    unsafe { signal_hook::low_level::register(SIGINT, interrupted) }?;
    Ok(())
}

/// Starts the thread that removes temporary folders when a signal ends the program.
pub fn remove(folders: Folders) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().filter(|signal| !is_ignored(*signal)))?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            folders.remove_all();
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// Whether the program was started to ignore a signal, as `nohup` does.
fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: asks for the disposition of a signal, which is written to `action`; nothing is changed.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: written by the call, and zeros before.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}
