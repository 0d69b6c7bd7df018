//! Downsampling by picking voxels, as `torch.nn.functional.interpolate(mode="nearest-exact")` does.
//!
//! Used for simulated low resolution, and by the loader for the targets of deep supervision.

use crate::VolumeView;

/// For each of `to` output positions along an axis, the nearest of `from` input positions.
///
/// Computed in f32 as torch does (`aten/src/ATen/native/UpSample.h`), so that ties fall the same way.
pub(super) fn indices(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f32 / to as f32;
    (0..to).map(|i| (((i as f32 + 0.5) * scale) as usize).min(from.saturating_sub(1))).collect()
}

/// Picks from every channel of `source` the voxels nearest to those of a grid of spatial shape `shape`, and puts them into `out`.
///
/// # Panics
/// When `out` is too short or too long for them.
pub fn downsample_nearest<T: Copy>(source: VolumeView<'_, T>, shape: [usize; 3], out: &mut [T]) {
    let [channels, depth, height, width] = source.shape;
    assert_eq!(out.len(), channels * shape.iter().product::<usize>(), "not the size of the coarser volume");
    let (from_z, from_y, from_x) = (indices(depth, shape[0]), indices(height, shape[1]), indices(width, shape[2]));
    let mut rows = out.chunks_exact_mut(shape[2]);
    for c in 0..channels {
        for &z in &from_z {
            for (&y, out) in from_y.iter().zip(&mut rows) {
                let row = &source.data[((c * depth + z) * height + y) * width..][..width];
                out.iter_mut().zip(&from_x).for_each(|(out, &x)| *out = row[x]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Volume;

    #[test]
    fn indices_equal_those_of_torch() {
        // torch.nn.functional.interpolate(torch.arange(n).float()[None, None], m, mode="nearest-exact")
        assert_eq!(indices(40, 20), (0..20).map(|i| 2 * i + 1).collect::<Vec<_>>());
        assert_eq!(indices(7, 3), [1, 3, 5]);
        assert_eq!(indices(5, 5), [0, 1, 2, 3, 4]);
        assert_eq!(indices(3, 7), [0, 0, 1, 1, 1, 2, 2]);
        assert_eq!(indices(1, 1), [0]);
    }

    #[test]
    fn every_axis_and_channel_is_picked_from() {
        let volume = Volume::new([2, 2, 4, 6], (0..96).collect::<Vec<i32>>());
        let mut small = [0; 12];
        downsample_nearest(volume.view(), [1, 2, 3], &mut small);
        let expected = |c: i32, y: i32, x: i32| ((c * 2 + 1) * 4 + y) * 6 + x;
        assert_eq!(small[6..], [1, 3].map(|y| [1, 3, 5].map(|x| expected(1, y, x))).concat());
    }
}
