//! Patches that are cut out without interpolation.

use crate::Volume;

/// The box of size `patch` whose lower corner is voxel `origin` of `source`; what lies beyond it becomes `outside`.
pub(super) fn crop_and_pad<T: Copy>(source: Volume<T>, origin: [i64; 3], patch: [usize; 3], outside: T) -> Volume<T> {
    let [channels, depth, height, width] = source.shape();
    if origin == [0; 3] && patch == source.spatial() {
        return source;
    }
    let mut out = Volume::filled([channels, patch[0], patch[1], patch[2]], outside);
    let inside = [depth, height, width].map(|n| n as i64);
    // Half-open range of patch voxels that lie inside the source, for each axis.
    let range = |axis: usize| {
        let size = patch[axis] as i64;
        let first = (-origin[axis]).clamp(0, size);
        let end = (inside[axis] - origin[axis]).clamp(first, size);
        first as usize..end as usize
    };
    let (zs, ys, xs) = (range(0), range(1), range(2));
    if xs.is_empty() {
        return out;
    }
    let source_index = |axis: usize, i: usize| (origin[axis] + i as i64) as usize;
    let source_x = source_index(2, xs.start);
    for c in 0..channels {
        let channel = out.channel_mut(c);
        for z in zs.clone() {
            for y in ys.clone() {
                let row = ((c * depth + source_index(0, z)) * height + source_index(1, y)) * width + source_x;
                let target = (z * patch[1] + y) * patch[2];
                channel[target + xs.start..target + xs.end].copy_from_slice(&source.data()[row..row + xs.len()]);
            }
        }
    }
    out
}

/// Which voxels of that box lie inside a source of spatial shape `spatial`; one channel.
pub(super) fn inside(spatial: [usize; 3], origin: [i64; 3], patch: [usize; 3]) -> Volume<bool> {
    let within = |axis: usize, i: usize| (0..spatial[axis] as i64).contains(&(origin[axis] + i as i64));
    let row: Vec<bool> = (0..patch[2]).map(|x| within(2, x)).collect();
    let nothing = vec![false; patch[2]];
    let mut data = Vec::with_capacity(patch.iter().product());
    for z in 0..patch[0] {
        for y in 0..patch[1] {
            data.extend_from_slice(if within(0, z) && within(1, y) { &row } else { &nothing });
        }
    }
    Volume::new([1, patch[0], patch[1], patch[2]], data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_may_reach_over_every_border() {
        let shape = [2, 3, 4, 5];
        let source = Volume::new(shape, (0..120).collect::<Vec<i32>>());
        for origin in [[0, 0, 0], [-1, -2, -3], [2, 3, 4], [1, -1, 2], [-9, 0, 0], [0, 0, 9], [0, 7, 0]] {
            let patch = [3, 4, 6];
            let cut = crop_and_pad(source.clone(), origin, patch, -1);
            let valid = inside([3, 4, 5], origin, patch);
            for (index, &value) in cut.data().iter().enumerate() {
                let position = [index / 24 % 3, index / 6 % 4, index % 6];
                let from: [i64; 3] = std::array::from_fn(|axis| origin[axis] + position[axis] as i64);
                let is_inside = (0..3).all(|axis| (0..shape[axis + 1] as i64).contains(&from[axis]));
                let expected = if is_inside { (((index / 72) as i64 * 3 + from[0]) * 4 + from[1]) * 5 + from[2] } else { -1 };
                assert_eq!(i64::from(value), expected, "origin {origin:?}, voxel {position:?}");
                assert_eq!(valid.data()[index % 72], is_inside);
            }
        }
    }
}
