//! Temporary folders, which are removed when they are no longer needed, and when the user or the system ends the program.
//!
//! What is unpacked from a model may be private: nobody else may read it while it is there. A folder is left behind by SIGKILL, by an abort, and
//! when the machine stops.

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use tempfile::{Builder, TempDir};

/// The folders that are there.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A temporary folder, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    /// There until it is dropped.
    folder: Option<TempDir>,
}

impl Scratch {
    /// A folder in the system's temporary one, for this user alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn private() -> io::Result<Self> {
        Self::new(Builder::new().permissions(Permissions::from_mode(0o700)).tempdir()?)
    }

    /// A folder that is going to be `path`, in the same folder, which is made if need be. Its name begins with `prefix`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn beside(path: &Path, prefix: &str) -> io::Result<Self> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent)?;
        // The umask decides who may read it, as for any other folder.
        Self::new(Builder::new().prefix(prefix).permissions(Permissions::from_mode(0o777)).tempdir_in(parent)?)
    }

    fn new(folder: TempDir) -> io::Result<Self> {
        remove_on_signals()?;
        folders(|folders| folders.push(folder.path().to_owned()));
        Ok(Self { folder: Some(folder) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// Gives it its name; it then stays.
    ///
    /// # Errors
    /// When it cannot be renamed; it is removed then.
    pub fn rename(self, path: &Path) -> io::Result<()> {
        std::fs::rename(self.path(), path)?;
        imaging::io::sync_folder(path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")));
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A signal that comes meanwhile waits until the folder is gone.
        folders(|folders| {
            let Some(folder) = self.folder.take() else { return };
            folders.retain(|other| other != folder.path());
        });
    }
}

fn folders<T>(work: impl FnOnce(&mut Vec<PathBuf>) -> T) -> T {
    work(&mut FOLDERS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Starts the thread that removes what is there when a signal ends the program.
fn remove_on_signals() -> io::Result<()> {
    static LISTENING: Once = Once::new();
    let mut listening = Ok(());
    LISTENING.call_once(|| listening = listen());
    listening
}

fn listen() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT].into_iter().filter(|signal| !is_ignored(*signal)))?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // The lock is kept: no folder is made any more. The program may still be writing into one.
            let folders = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner);
            for folder in folders.iter() {
                let _ = (0..10).find(|_| std::fs::remove_dir_all(folder).is_ok() || !folder.exists());
            }
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
