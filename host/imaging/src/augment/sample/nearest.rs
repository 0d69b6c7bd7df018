//! The value of the nearest voxel: interpolation of order 0.

use super::{Grid, Outside};

impl Grid {
    /// The nearest voxel of `source` (C, Z, Y, X), `outside` where the volume has none. Of two equally near ones that with the even index.
    pub(in crate::augment) fn nearest<T: Copy>(&self, source: &[T], outside: Outside<T>, out: &mut [T]) {
        let (patch, voxels) = self.voxels();
        for (number, out) in out.chunks_exact_mut(patch).enumerate() {
            let channel = &source[number * voxels..(number + 1) * voxels];
            self.for_each_chunk(|chunk| {
                for (sample, out) in out[chunk.first..][..chunk.count].iter_mut().enumerate() {
                    *out = self.voxel(channel, chunk.nearest(sample), outside);
                }
            });
        }
    }

    /// Which voxels' nearest voxel of the volume exists.
    pub(in crate::augment) fn inside(&self, out: &mut [bool]) {
        self.for_each_chunk(|chunk| {
            for (sample, out) in out[chunk.first..][..chunk.count].iter_mut().enumerate() {
                *out = chunk.interior.contains(&sample) || self.contains(chunk.nearest(sample));
            }
        });
    }
}
