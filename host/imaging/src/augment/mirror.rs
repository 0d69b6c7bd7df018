//! Flips along the spatial axes.

use rand::Rng;
use serde::{Deserialize, Serialize};

use super::random::chance;
use crate::Volume;

/// Flips each of `axes` on its own with `probability` (batchgeneratorsv2 `spatial/mirroring.py`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Spatial axes that may be flipped: 0 is z, 1 is y, 2 is x. Prediction may average over flips of these, too.
    pub axes: Vec<usize>,
    /// For each axis.
    pub probability: f64,
}

impl Mirror {
    /// Decides which of (z, y, x) to flip.
    pub(super) fn draw(&self, rng: &mut impl Rng) -> [bool; 3] {
        let mut flips = [false; 3];
        for &axis in &self.axes {
            if let Some(flip) = flips.get_mut(axis) {
                *flip = chance(rng, self.probability);
            }
        }
        flips
    }
}

/// Flips `volume` in place along (z, y, x).
pub(super) fn mirror<T: Copy>(volume: &mut Volume<T>, [flip_z, flip_y, flip_x]: [bool; 3]) {
    let [depth, height, width] = volume.spatial();
    let plane = height * width;
    if plane == 0 {
        return;
    }
    let data = volume.data_mut();
    if flip_x {
        data.chunks_exact_mut(width).for_each(<[T]>::reverse);
    }
    if flip_y {
        data.chunks_exact_mut(plane).for_each(|plane| reverse_blocks(plane, width));
    }
    if flip_z {
        data.chunks_exact_mut(depth * plane).for_each(|channel| reverse_blocks(channel, plane));
    }
}

/// Reverses the order of the blocks of `size` elements that `data` consists of.
fn reverse_blocks<T>(data: &mut [T], size: usize) {
    let blocks = data.len() / size;
    for first in 0..blocks / 2 {
        let (head, tail) = data.split_at_mut((blocks - 1 - first) * size);
        head[first * size..(first + 1) * size].swap_with_slice(&mut tail[..size]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_is_flipped_on_its_own() {
        let shape = [2, 3, 4, 5];
        let volume = Volume::new(shape, (0..120).collect::<Vec<i32>>());
        for flips in [[true, false, false], [false, true, false], [false, false, true], [true, true, true], [false; 3]] {
            let mut flipped = volume.clone();
            mirror(&mut flipped, flips);
            for (index, &value) in flipped.data().iter().enumerate() {
                let (c, z, y, x) = (index / 60, index / 20 % 3, index / 5 % 4, index % 5);
                let source = |i: usize, n: usize, flip: bool| if flip { n - 1 - i } else { i };
                let (z, y, x) = (source(z, 3, flips[0]), source(y, 4, flips[1]), source(x, 5, flips[2]));
                assert_eq!(value as usize, ((c * 3 + z) * 4 + y) * 5 + x, "flips {flips:?}");
            }
        }
    }
}
