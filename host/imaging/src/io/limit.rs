//! How large an image may be, as it is read and as it is resampled.
//!
//! A header with a wrong spacing asks for petabytes, and a few kilobytes of gzip may become gigabytes. One limit, for the whole program,
//! turns both into an error that names the file.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Error;

/// 512 × 512 pixels and 8192 slices, or 1290 voxels along every axis: 8 GB.
pub const DEFAULT_MOST_VOXELS: u64 = 1 << 31;

static MOST_VOXELS: AtomicU64 = AtomicU64::new(DEFAULT_MOST_VOXELS);

/// The most voxels, times channels, that an image may have.
pub fn most_voxels() -> u64 {
    MOST_VOXELS.load(Ordering::Relaxed)
}

/// Sets that limit for all images from now on.
pub fn set_most_voxels(most: u64) {
    MOST_VOXELS.store(most, Ordering::Relaxed);
}

/// Whether an image may have this shape.
pub fn may_have(shape: impl IntoIterator<Item = usize>) -> bool {
    let voxels = shape.into_iter().try_fold(1u64, |voxels, size| voxels.checked_mul(size as u64));
    // Whatever the limit is: bytes are counted in 63 bits.
    voxels.is_some_and(|voxels| voxels <= most_voxels().min(i64::MAX as u64 / 16))
}

/// Refuses the file at `path` if its `shape` (C, Z, Y, X) is beyond the limit.
pub(super) fn check(path: &Path, shape: [usize; 4]) -> Result<(), Error> {
    if may_have(shape) { Ok(()) } else { Err(Error::TooManyVoxels { path: path.to_owned(), shape, most: most_voxels() }) }
}
