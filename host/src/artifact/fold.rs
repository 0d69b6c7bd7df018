//! What lies in a fold's folder.

use std::path::{Path, PathBuf};

/// The ending of a fold that is replaced, from when another training takes its name until it is removed.
pub const REPLACED: &str = "removed";

/// A fold's checkpoint: `latest`, `best`, `final` or `epoch_NNNN`.
pub fn checkpoint_path(folder: &Path, which: &str) -> PathBuf {
    folder.join(format!("checkpoint_{which}.safetensors"))
}

/// What a run goes on with: the latest checkpoint of `folder`, else the final one, else the newest that is kept by its epoch.
pub fn newest_checkpoint(folder: &Path) -> Option<PathBuf> {
    let kept = numbered(folder).pop().map(|(_, path)| path);
    [Some(checkpoint_path(folder, "latest")), Some(checkpoint_path(folder, "final")), kept].into_iter().flatten().find(|path| path.exists())
}

/// Checkpoints that are kept by their epoch, oldest first.
fn numbered(folder: &Path) -> Vec<(u64, PathBuf)> {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("checkpoint_epoch_")?.strip_suffix(".safetensors")?.parse().ok();
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<(u64, PathBuf)> = files.filter_map(|path| Some((number(&path)?, path))).collect();
    found.sort();
    found
}

/// Keeps the latest checkpoint in `folder`, of the end of `epoch`, under a name of its own, and removes what is older than
/// the `last` of these.
pub fn keep_epoch(folder: &Path, epoch: u64, last: usize) {
    let (latest, kept) = (checkpoint_path(folder, "latest"), checkpoint_path(folder, &format!("epoch_{epoch:04}")));
    let _ = std::fs::remove_file(&kept);
    // A link costs nothing: the latest is never changed, only replaced.
    if let Err(error) = std::fs::hard_link(&latest, &kept).or_else(|_| std::fs::copy(&latest, &kept).map(drop)) {
        log::warn!("{}: {error}; this checkpoint is not kept", kept.display());
    }
    for (_, old) in numbered(folder).iter().rev().skip(last) {
        let _ = std::fs::remove_file(old);
    }
}
