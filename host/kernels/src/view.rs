//! The image, read in place: a tile of a larger array, mirrored along some axes or not.

/// One image `(channel, z, y, x)` inside an array.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    data: &'a [f32],
    /// Voxel (0, 0, 0) of the first channel.
    start: usize,
    /// Floats to the next channel, z, y and x; axes may run backwards.
    strides: [isize; 4],
    shape: [usize; 4],
}

impl<'a> View<'a> {
    /// The box of `size` at `corner` of an array `data` of `shape` (channel, z, y, x), mirrored along the axes (z, y, x) that `mirrored` names.
    ///
    /// # Panics
    /// When the array is not of that shape, or the box does not lie in it.
    pub fn new(data: &'a [f32], shape: [usize; 4], corner: [usize; 3], size: [usize; 3], mirrored: [bool; 3]) -> Self {
        assert_eq!(data.len(), shape.iter().product::<usize>(), "an array of shape {shape:?}");
        let mut strides = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1].map(|stride| stride as isize);
        let mut start = 0;
        for axis in 0..3 {
            assert!(size[axis] > 0 && corner[axis] + size[axis] <= shape[axis + 1], "{size:?} at {corner:?} of {shape:?}");
            let first = if mirrored[axis] { corner[axis] + size[axis] - 1 } else { corner[axis] };
            start += first * strides[axis + 1] as usize;
            if mirrored[axis] {
                strides[axis + 1] = -strides[axis + 1];
            }
        }
        Self { data, start, strides, shape: [shape[0], size[0], size[1], size[2]] }
    }

    /// (channel, z, y, x).
    pub(crate) fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Copies row (channel, z, y) behind `before` zeros, with as many zeros after it as `to` has room for.
    pub(crate) fn copy_row(&self, channel: usize, z: usize, y: usize, before: usize, to: &mut [f32]) {
        let (head, rest) = to.split_at_mut(before);
        head.fill(0.0);
        let width = self.shape[3].min(rest.len());
        let (row, tail) = rest.split_at_mut(width);
        tail.fill(0.0);
        let [by_channel, by_z, by_y, by_x] = self.strides;
        let first = self.start as isize + channel as isize * by_channel + z as isize * by_z + y as isize * by_y;
        if by_x > 0 {
            row.copy_from_slice(&self.data[first as usize..][..width]);
        } else {
            // The row runs backwards, and ends at its first voxel.
            let last = first as usize + 1;
            row.iter_mut().zip(self.data[last - self.shape[3]..last].iter().rev()).for_each(|(to, from)| *to = *from);
        }
    }
}
