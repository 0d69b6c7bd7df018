//! Downsampling by picking voxels, as `torch.nn.functional.interpolate(mode="nearest-exact")` does.
//!
//! Used for simulated low resolution, and by the loader for the targets of deep supervision.

use crate::{Volume, VolumeView};

/// For each of `to` output positions along an axis, the nearest of `from` input positions.
///
/// Computed in f32 as torch does (`aten/src/ATen/native/UpSample.h`), so that ties fall the same way.
pub(super) fn indices(from: usize, to: usize) -> Vec<usize> {
    let scale = from as f32 / to as f32;
    (0..to).map(|i| (((i as f32 + 0.5) * scale) as usize).min(from.saturating_sub(1))).collect()
}

/// Picks from every channel of `source` the voxels nearest to those of a grid of spatial shape `shape`.
pub fn downsample_nearest<T: Copy>(source: VolumeView<'_, T>, shape: [usize; 3]) -> Volume<T> {
    let [channels, depth, height, width] = source.shape;
    let (from_z, from_y, from_x) = (indices(depth, shape[0]), indices(height, shape[1]), indices(width, shape[2]));
    let mut data = Vec::with_capacity(channels * shape.iter().product::<usize>());
    for c in 0..channels {
        for &z in &from_z {
            for &y in &from_y {
                let row = &source.data[((c * depth + z) * height + y) * width..][..width];
                data.extend(from_x.iter().map(|&x| row[x]));
            }
        }
    }
    Volume::new([channels, shape[0], shape[1], shape[2]], data)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let small = downsample_nearest(volume.view(), [1, 2, 3]);
        assert_eq!(small.shape(), [2, 1, 2, 3]);
        let expected = |c: i32, y: i32, x: i32| ((c * 2 + 1) * 4 + y) * 6 + x;
        assert_eq!(small.channel(1), [1, 3].map(|y| [1, 3, 5].map(|x| expected(1, y, x))).concat());
    }
}
