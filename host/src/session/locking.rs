//! One program at a time in a fold: the lock beside its folder, and how the folder goes when it is replaced.

use super::Session;
use crate::artifact::REPLACED;
use anyhow::{Result, anyhow, ensure};
use data::lock::{Lock, Sharing};
use std::io::ErrorKind;

impl Session<'_> {
    /// Keeps other programs from the fold. The lock lies beside its folder, which may be removed.
    pub(super) fn lock(&mut self) -> Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let path = self.folder.with_extension("lock");
        let failed = |e: std::io::Error| anyhow!("cannot lock {}: {e}; check that the folder is writable", path.display());
        std::fs::create_dir_all(self.folder.parent().unwrap_or(&self.folder)).map_err(failed)?;
        self.lock = Lock::take(&path, Sharing::Exclusive).map_err(failed)?;
        ensure!(
            self.lock.is_some(),
            "{}: another program trains or validates this fold; wait until that program has ended, or give this run a --name",
            self.folder.display()
        );
        // Left by a kill while this fold was replaced.
        self.remove_replaced()
    }

    /// Removes the fold. Its folder goes at once: a kill while files are removed leaves no half of a fold behind.
    pub(super) fn remove(&self) -> Result<()> {
        let failed = |e: std::io::Error| anyhow!("cannot remove {}: {e}", self.folder.display());
        if self.folder.exists() {
            // Versions up to 2026-11 lock the log, and nothing else.
            let log = self.folder.join("log.txt");
            let older = if log.exists() { Lock::take(&log, Sharing::Exclusive).map_err(failed)? } else { None };
            ensure!(older.is_some() || !log.exists(), "{}: another program is training this fold", log.display());
            std::fs::rename(&self.folder, self.folder.with_extension(REPLACED)).map_err(failed)?;
            imaging::failpoint::reached(format_args!("fold.removed"));
            self.remove_replaced()?;
        }
        Ok(())
    }

    /// Removes what is left of a fold that was replaced.
    fn remove_replaced(&self) -> Result<()> {
        let replaced = self.folder.with_extension(REPLACED);
        match std::fs::remove_dir_all(&replaced) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(anyhow!("cannot remove {}: {e}", replaced.display())),
            _ => Ok(()),
        }
    }
}
