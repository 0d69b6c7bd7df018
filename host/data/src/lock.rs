//! Locks between programs: a file that is locked while somebody works at what lies beside it.
//!
//! The system lets go of a lock when its holder ends, however that is. The file itself stays: removing it would let a third program lock
//! another file of the same name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// A lock, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
    is_held: bool,
}

/// With whom a lock is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// With others that share it: several read.
    Shared,
    /// With nobody.
    Exclusive,
}

impl Lock {
    /// Locks `path`, which is made if need be; `None` where another program's lock forbids it. A link is not followed. The right to read the file
    /// is enough, where the file system allows that. One without locks does without, and the log says so once.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn take(path: &Path, sharing: Sharing) -> io::Result<Option<Self>> {
        Self::locked(path, |file| match sharing {
            Sharing::Shared => file.try_lock_shared(),
            Sharing::Exclusive => file.try_lock(),
        })
    }

    /// The same, but waits until the other program is done.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn wait(path: &Path, sharing: Sharing) -> io::Result<Self> {
        let lock = Self::locked(path, |file| match sharing {
            Sharing::Shared => file.lock_shared().map_err(TryLockError::Error),
            Sharing::Exclusive => file.lock().map_err(TryLockError::Error),
        })?;
        lock.ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock))
    }

    /// Whether there is a lock, or only a file on a file system that has none.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    fn locked(path: &Path, lock: impl Fn(&File) -> Result<(), TryLockError>) -> io::Result<Option<Self>> {
        loop {
            let file = open(path)?;
            match lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                    tell_once(path, &error);
                    return Ok(Some(Self { _file: file, is_held: false }));
                }
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Who held it may have removed the file with its folder: a lock on such a file keeps nobody away.
            if is_at(&file, path) {
                return Ok(Some(Self { _file: file, is_held: true }));
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // To open a pipe would wait.
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let writable = options.clone().write(true).create(true).truncate(false).open(path);
    match writable {
        // Somebody else's, or on a medium that cannot be written.
        Err(error) if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            options.open(path).map_err(|_| error)
        }
        opened => opened,
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOLCK))
}

fn is_at(file: &File, path: &Path) -> bool {
    let number = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    let there = std::fs::symlink_metadata(path).map(number);
    there.is_ok_and(|there| file.metadata().map(number).is_ok_and(|ours| ours == there))
}

fn tell_once(path: &Path, error: &io::Error) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !TOLD.swap(true, Ordering::Relaxed) {
        log::warn!("{}: cannot be locked ({error}): let no other program work in this folder at the same time", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_many() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("lock");
        std::fs::write(&path, "kept").expect("written");
        let take = |sharing| Lock::take(&path, sharing).expect("opened");
        {
            let (_one, _other) = (take(Sharing::Shared).expect("free"), take(Sharing::Shared).expect("shared"));
            assert!(take(Sharing::Exclusive).is_none());
        }
        let alone = take(Sharing::Exclusive).expect("free");
        assert!(take(Sharing::Shared).is_none() && take(Sharing::Exclusive).is_none());
        drop(alone);
        assert!(take(Sharing::Exclusive).is_some());
        assert_eq!(std::fs::read(&path).expect("there"), b"kept");
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let (path, target) = (folder.path().join("lock"), folder.path().join("target"));
        std::os::unix::fs::symlink(&target, &path).expect("linked");
        for sharing in [Sharing::Shared, Sharing::Exclusive] {
            let error = Lock::take(&path, sharing).expect_err("a link");
            assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        }
        assert!(!target.exists());
    }
}
