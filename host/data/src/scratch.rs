//! Temporary folders, which are removed when they are no longer needed, and when the user or the system ends the program.
//!
//! What is unpacked from a model may be private: nobody else may read it while it is there. A folder is left behind by SIGKILL, by an abort, and
//! when the machine stops.

use std::fmt;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use tempfile::{Builder, TempDir};

/// The temporary folders of a program.
#[derive(Clone)]
pub struct Folders(Arc<Inner>);

struct Inner {
    there: Mutex<Vec<PathBuf>>,
    watch: Watch,
    watched: Once,
}

/// Sees to it that [`Folders::remove_all`] is called when something ends the program.
type Watch = Box<dyn Fn(Folders) -> io::Result<()> + Send + Sync>;

impl Folders {
    /// None yet. `watch` is called once, before the first one is made; it sees to it that [`remove_all`](Self::remove_all) is called when something
    /// ends the program.
    pub fn new(watch: impl Fn(Self) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { there: Mutex::default(), watch: Box::new(watch), watched: Once::new() }))
    }

    /// A folder in the system's temporary one, for this user alone.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn private(&self) -> io::Result<Scratch> {
        self.add(Builder::new().permissions(Permissions::from_mode(0o700)).tempdir()?)
    }

    /// A folder that is going to be `path`, in the same folder, which is made if need be. Its name begins with `prefix`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn beside(&self, path: &Path, prefix: &str) -> io::Result<Scratch> {
        let parent = parent(path);
        std::fs::create_dir_all(parent)?;
        // The umask decides who may read it, as for any other folder.
        self.add(Builder::new().prefix(prefix).permissions(Permissions::from_mode(0o777)).tempdir_in(parent)?)
    }

    fn add(&self, folder: TempDir) -> io::Result<Scratch> {
        let mut watched = Ok(());
        self.0.watched.call_once(|| watched = (self.0.watch)(self.clone()));
        watched?;
        self.there().push(folder.path().to_owned());
        Ok(Scratch { folder: Some(folder), folders: self.clone() })
    }

    /// Removes all that are there, for a program that is about to end: from now on whoever makes or drops one waits for ever.
    pub fn remove_all(&self) {
        let there = self.there();
        for folder in there.iter() {
            // The program may still be writing into it.
            let _ = (0..10).find(|_| std::fs::remove_dir_all(folder).is_ok() || !folder.exists());
        }
        std::mem::forget(there);
    }

    fn there(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Folders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folders").field(&*self.there()).finish()
    }
}

/// A temporary folder, removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    /// There until it is dropped.
    folder: Option<TempDir>,
    folders: Folders,
}

impl Scratch {
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
        imaging::io::sync_folder(parent(path));
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A signal that comes meanwhile waits until the folder is gone.
        let mut there = self.folders.there();
        let Some(folder) = self.folder.take() else { return };
        there.retain(|other| other != folder.path());
        drop(folder);
        drop(there);
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn folders_go_when_they_are_dropped_and_all_at_the_end() {
        let watches = Arc::new(AtomicUsize::new(0));
        let counted = watches.clone();
        let folders = Folders::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(())
        });
        assert_eq!(watches.load(Ordering::Relaxed), 0);
        let [first, second, third] = [(); 3].map(|()| folders.private().expect("made"));
        assert_eq!(watches.load(Ordering::Relaxed), 1);
        let gone = first.path().to_owned();
        drop(first);
        let home = tempfile::tempdir().expect("made");
        second.rename(&home.path().join("kept")).expect("renamed");
        let last = third.path().to_owned();
        std::mem::forget(third);
        folders.remove_all();
        assert!(!gone.exists() && home.path().join("kept").is_dir() && !last.exists());
    }
}
