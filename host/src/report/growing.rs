//! A file that only grows, and is cut back when a run resumes.

use super::run_log::LogError;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Error, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

/// An open log.
#[derive(Debug)]
pub(super) struct Growing {
    path: PathBuf,
    file: File,
}

impl Growing {
    /// Opens `path`, which is made if need be. A link is not followed: in a shared folder it may lead to a file of the user's own.
    pub fn open(path: PathBuf) -> Result<Self, LogError> {
        // To open a pipe would wait for its reader.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let opened = OpenOptions::new().create(true).truncate(false).write(true).custom_flags(flags).open(&path);
        let is_file = |file: File| if file.metadata()?.is_file() { Ok(file) } else { Err(Error::other("it is a pipe or a device")) };
        match opened.and_then(is_file) {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(LogError::new(path, source)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps others from locking it, until dropped. A file system without locks does without.
    pub fn lock(&self) -> Result<(), LogError> {
        match self.file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(self.error(Error::other("another program is training this fold"))),
            _ => Ok(()),
        }
    }

    /// Cuts off what is behind `length`, and goes on there.
    pub fn cut(&mut self, length: u64) -> Result<(), LogError> {
        let now = self.file.metadata().map_err(|source| self.error(source))?.len();
        let cut = self.file.set_len(length.min(now)).and_then(|()| self.file.seek(SeekFrom::End(0)));
        cut.map(drop).map_err(|source| self.error(source))
    }

    /// Length as a checkpoint holds it.
    pub fn length(&mut self) -> Result<u64, LogError> {
        self.file.stream_position().map_err(|source| self.error(source))
    }

    /// Adds `bytes`, all or none.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        let start = self.length()?;
        self.file.write_all(bytes).map_err(|source| {
            // What cannot be undone either is cut off on resuming.
            let _ = self.file.set_len(start).and_then(|()| self.file.seek(SeekFrom::Start(start)));
            self.error(source)
        })
    }

    fn error(&self, source: Error) -> LogError {
        LogError::new(self.path.clone(), source)
    }
}
