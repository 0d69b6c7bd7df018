//! The array that every stage works on, and the box that says which part of it is meant.

use serde::{Deserialize, Serialize};

use crate::pages::ask_for_large_pages;

/// Dense array of shape (C, Z, Y, X) in C order; 2D data has Z = 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume<T> {
    shape: [usize; 4],
    data: Vec<T>,
}

impl<T> Default for Volume<T> {
    /// An empty volume, to be filled by [`Self::refill`].
    fn default() -> Self {
        Self { shape: [0; 4], data: Vec::new() }
    }
}

impl<T: Copy> Volume<T> {
    /// Wraps `data`, which lies in C order.
    ///
    /// # Panics
    /// When `data` does not have as many elements as `shape` says.
    pub fn new(shape: [usize; 4], data: Vec<T>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "shape {shape:?} and number of elements differ");
        Self { shape, data }
    }

    /// A volume that holds `value` everywhere.
    pub fn filled(shape: [usize; 4], value: T) -> Self {
        Self { shape, data: vec![value; shape.iter().product()] }
    }

    /// (C, Z, Y, X).
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.shape[0]
    }

    /// (Z, Y, X).
    pub fn spatial(&self) -> [usize; 3] {
        [self.shape[1], self.shape[2], self.shape[3]]
    }

    /// All elements in C order.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// All elements in C order.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// All elements in C order.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// The elements of channel `c`, (Z, Y, X) in C order.
    pub fn channel(&self, c: usize) -> &[T] {
        let voxels = self.voxels();
        &self.data[c * voxels..(c + 1) * voxels]
    }

    /// The elements of channel `c`, (Z, Y, X) in C order.
    pub fn channel_mut(&mut self, c: usize) -> &mut [T] {
        let voxels = self.voxels();
        &mut self.data[c * voxels..(c + 1) * voxels]
    }

    /// Borrows the whole volume.
    pub fn view(&self) -> VolumeView<'_, T> {
        VolumeView { shape: self.shape, data: &self.data }
    }

    /// Gives the volume another shape and whatever content `fill` appends to the memory that it has, which is empty then.
    ///
    /// # Errors
    /// Those of `fill`; the volume is empty then.
    ///
    /// # Panics
    /// When `fill` does not append as many elements as `shape` says.
    pub fn refill<E>(&mut self, shape: [usize; 4], fill: impl FnOnce(&mut Vec<T>) -> Result<(), E>) -> Result<(), E> {
        self.shape = [0; 4];
        self.data.clear();
        let count = shape.iter().product::<usize>();
        if self.data.capacity() < count && self.data.try_reserve_exact(count).is_ok() {
            ask_for_large_pages(&mut self.data);
        }
        let filled = fill(&mut self.data);
        if filled.is_err() {
            self.data.clear();
            return filled;
        }
        assert_eq!(count, self.data.len(), "shape {shape:?} and number of elements differ");
        self.shape = shape;
        Ok(())
    }

    /// The part inside `bbox`, of every channel.
    ///
    /// # Panics
    /// When `bbox` reaches beyond the volume.
    pub fn crop(&self, bbox: &BoundingBox) -> Self {
        let [depth, height, width] = bbox.size();
        let shape = [self.channels(), depth, height, width];
        let mut out = Self::default();
        let Ok(()) = out.refill(shape, |data| {
            for c in 0..self.channels() {
                for z in bbox.lower[0]..bbox.upper[0] {
                    for y in bbox.lower[1]..bbox.upper[1] {
                        let row = self.row_start(c, z, y);
                        data.extend_from_slice(&self.data[row + bbox.lower[2]..row + bbox.upper[2]]);
                    }
                }
            }
            Ok::<(), std::convert::Infallible>(())
        });
        out
    }

    /// Undoes [`Self::crop`]: a volume of spatial shape `full` that holds this one at `bbox` and `fill` elsewhere.
    ///
    /// # Panics
    /// When `bbox` does not have this volume's size, or reaches beyond `full`.
    pub fn uncrop(&self, bbox: &BoundingBox, full: [usize; 3], fill: T) -> Self {
        assert_eq!(bbox.size(), self.spatial(), "box and volume differ in size");
        let mut out = Self::filled([self.channels(), full[0], full[1], full[2]], fill);
        let width = self.shape[3];
        for c in 0..self.channels() {
            for z in 0..self.shape[1] {
                for y in 0..self.shape[2] {
                    let source = self.row_start(c, z, y);
                    let target = out.row_start(c, z + bbox.lower[0], y + bbox.lower[1]) + bbox.lower[2];
                    out.data[target..target + width].copy_from_slice(&self.data[source..source + width]);
                }
            }
        }
        out
    }

    /// Reorders the spatial axes: axis `i` of the result is axis `axes[i]` of this volume. Channels stay.
    ///
    /// # Panics
    /// When `axes` is not a permutation of 0, 1, 2.
    pub fn transpose(&self, axes: [usize; 3]) -> Self {
        let mut sorted = axes;
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2], "axes must be a permutation of 0, 1, 2");
        if axes == [0, 1, 2] {
            return self.clone();
        }
        let spatial = self.spatial();
        let strides = [spatial[1] * spatial[2], spatial[2], 1];
        let shape = axes.map(|axis| spatial[axis]);
        let step = axes.map(|axis| strides[axis]);
        let mut data = Vec::with_capacity(self.data.len());
        if axes[2] == 2 {
            for c in 0..self.channels() {
                let channel = self.channel(c);
                for i in 0..shape[0] {
                    for j in 0..shape[1] {
                        data.extend_from_slice(&channel[i * step[0] + j * step[1]..][..shape[2]]);
                    }
                }
            }
        } else {
            data.extend_from_slice(&self.data);
            let size = self.voxels().max(1);
            for (source, target) in self.data.chunks_exact(size).zip(data.chunks_exact_mut(size)) {
                turn_rows(source, step, target, shape);
            }
        }
        Self::new([self.channels(), shape[0], shape[1], shape[2]], data)
    }

    /// Reverses the order of voxels along each of the axes (z, y, x) that `axes` says.
    pub fn flip(&mut self, axes: [bool; 3]) {
        let [_, depth, height, width] = self.shape;
        for (axis, (count, block)) in [(depth, height * width), (height, width), (width, 1)].into_iter().enumerate() {
            if axes[axis] && block > 0 && count > 0 {
                self.data.chunks_exact_mut(count * block).for_each(|line| reverse_blocks(line, block));
            }
        }
    }

    fn voxels(&self) -> usize {
        self.shape[1] * self.shape[2] * self.shape[3]
    }

    fn row_start(&self, c: usize, z: usize, y: usize) -> usize {
        ((c * self.shape[1] + z) * self.shape[2] + y) * self.shape[3]
    }
}

/// Reverses the order of the blocks of `block` elements that `line` is made of.
fn reverse_blocks<T>(line: &mut [T], block: usize) {
    if block == 1 {
        return line.reverse();
    }
    let count = line.len() / block;
    for first in 0..count / 2 {
        let (before, after) = line.split_at_mut((count - 1 - first) * block);
        before[first * block..][..block].swap_with_slice(&mut after[..block]);
    }
}

/// Copies a channel to `target` of `shape`, whose rows are no rows of `source`: a step along its axis `i` is one of `step[i]` there.
fn turn_rows<T: Copy>(source: &[T], step: [usize; 3], target: &mut [T], shape: [usize; 3]) {
    /// Side of the tiles, so that a tile's rows stay in the cache until all of them are used.
    const TILE: usize = 16;
    let stride = [shape[1] * shape[2], shape[2]];
    // Tiles lie between the rows of the target and those of the source, which are its axis `across`.
    let across = if step[0] == 1 { 0 } else { 1 };
    let other = 1 - across;
    for o in 0..shape[other] {
        for first in (0..shape[across]).step_by(TILE) {
            for left in (0..shape[2]).step_by(TILE) {
                for a in first..shape[across].min(first + TILE) {
                    let row = &mut target[o * stride[other] + a * stride[across]..][left..shape[2].min(left + TILE)];
                    let start = o * step[other] + a;
                    for (k, value) in row.iter_mut().enumerate() {
                        *value = source[start + (left + k) * step[2]];
                    }
                }
            }
        }
    }
}

/// A borrowed volume, to be read: an array to store, an image to draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VolumeView<'a, T> {
    /// (C, Z, Y, X).
    pub shape: [usize; 4],
    /// All elements in C order.
    pub data: &'a [T],
}

/// Half-open box in voxels (z, y, x): `lower` is inside, `upper` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// First voxel inside.
    pub lower: [usize; 3],
    /// One past the last voxel inside.
    pub upper: [usize; 3],
}

impl BoundingBox {
    /// The box around a whole volume of spatial shape `spatial`.
    pub fn whole(spatial: [usize; 3]) -> Self {
        Self { lower: [0; 3], upper: spatial }
    }

    /// Extent along (z, y, x) in voxels.
    pub fn size(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.upper[axis] - self.lower[axis])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(shape: [usize; 4]) -> Volume<i32> {
        Volume::new(shape, (0..shape.iter().product::<usize>() as i32).collect())
    }

    #[test]
    fn uncrop_puts_a_crop_back_where_it_was() {
        let volume = counting([2, 3, 4, 5]);
        let bbox = BoundingBox { lower: [1, 0, 2], upper: [3, 3, 5] };
        let cropped = volume.crop(&bbox);
        assert_eq!(cropped.shape(), [2, 2, 3, 3]);
        assert_eq!(cropped.channel(1)[0], 60 + 20 + 2);

        let restored = cropped.uncrop(&bbox, volume.spatial(), -1);
        assert_eq!(restored.crop(&bbox), cropped);
        assert_eq!(restored.data().iter().filter(|&&v| v == -1).count(), 120 - 36);
    }

    #[test]
    fn transpose_moves_axis_axes_i_to_i() {
        let volume = counting([2, 2, 3, 4]);
        let turned = volume.transpose([2, 0, 1]);
        assert_eq!(turned.shape(), [2, 4, 2, 3]);
        // Element (c 1, z 1, y 2, x 3) is now at (c 1, 3, 1, 2).
        assert_eq!(turned.channel(1)[(3 * 2 + 1) * 3 + 2], volume.channel(1)[(3 + 2) * 4 + 3]);
        assert_eq!(turned.transpose([1, 2, 0]), volume);
    }
}
