//! Finding the part of an image that holds something: nnU-Net's crop to the nonzero region (`cropping.py`).
//!
//! [`nonzero_mask`] says where that is, [`bounding_box`] how far it reaches. Rows are walked in runs of equal voxels, since air and
//! bodies are large.

use crate::{BoundingBox, Volume};
use std::ops::Range;

/// Where any channel is not zero, with enclosed zeros counted in, as (Z, Y, X) in C order.
///
/// Holes are filled as by `scipy.ndimage.binary_fill_holes`: a zero belongs to the outside if a path of face neighbours leads
/// from it to the border of the volume. The only slice of a 2D image is all border, so nothing is filled there.
pub fn nonzero_mask(image: &Volume<f32>) -> Vec<bool> {
    let mut mask = vec![false; image.spatial().iter().product()];
    for c in 0..image.channels() {
        for (inside, &value) in mask.iter_mut().zip(image.channel(c)) {
            *inside |= value != 0.0;
        }
    }
    fill_holes(&mut mask, image.spatial());
    mask
}

/// Makes true what is enclosed by what is true in `mask`.
fn fill_holes(mask: &mut [bool], spatial: [usize; 3]) {
    // Around the box there is nothing but the outside, so its faces serve as the border.
    let bbox = bounding_box(mask, spatial);
    let Some(mut zeros) = Zeros::inside(&bbox, mask, spatial) else { return };
    let [depth, height, width] = zeros.size;
    for z in 0..depth {
        for y in 0..height {
            if z == 0 || z + 1 == depth || y == 0 || y + 1 == height {
                zeros.remove_runs(z, y, 0, width);
            } else {
                zeros.remove_runs(z, y, 0, 1);
                zeros.remove_runs(z, y, width - 1, width);
            }
        }
    }
    while let Some(Run { z, y, start, end }) = zeros.removed.pop() {
        for (z, y) in [(z.wrapping_sub(1), y), (z + 1, y), (z, y.wrapping_sub(1)), (z, y + 1)] {
            if z < depth && y < height {
                zeros.remove_runs(z, y, start, end);
            }
        }
    }
    for (row, enclosed) in rows(&bbox, spatial).zip(zeros.left.chunks_exact(width)) {
        if !is_full(&mask[row.clone()]) {
            mask[row].iter_mut().zip(enclosed).for_each(|(inside, enclosed)| *inside |= enclosed);
        }
    }
}

/// The zeros inside a box that no path from the border has reached yet. Whole runs of a row are reached at once.
struct Zeros {
    size: [usize; 3],
    /// Where they are, as (Z, Y, X) in C order.
    left: Vec<bool>,
    /// Runs that were reached, and whose neighbours are to be looked at.
    removed: Vec<Run>,
}

/// Voxels from `start` to before `end` of a row.
struct Run {
    z: usize,
    y: usize,
    start: usize,
    end: usize,
}

impl Zeros {
    /// `None` when all of `mask` is true inside `bbox`.
    fn inside(bbox: &BoundingBox, mask: &[bool], spatial: [usize; 3]) -> Option<Self> {
        let mut rows = rows(bbox, spatial).enumerate().filter(|(_, row)| !is_full(&mask[row.clone()])).peekable();
        rows.peek()?;
        let size = bbox.size();
        // Rows without a zero are not even written: the system makes such memory as it is touched.
        let mut left = vec![false; size.iter().product()];
        for (i, row) in rows {
            left[i * size[2]..][..size[2]].iter_mut().zip(&mask[row]).for_each(|(left, inside)| *left = !inside);
        }
        Some(Self { size, left, removed: Vec::new() })
    }

    /// Removes all runs that touch the voxels from `start` to before `end` of a row.
    fn remove_runs(&mut self, z: usize, y: usize, start: usize, end: usize) {
        let [_, height, width] = self.size;
        let row = &mut self.left[(z * height + y) * width..][..width];
        let mut x = start;
        loop {
            x = run_end(&row[..end], x, false);
            if x == end {
                return;
            }
            let before = row[..x].iter().rev().take_while(|left| **left).count();
            let run = Run { z, y, start: x - before, end: run_end(row, x, true) };
            row[run.start..run.end].fill(false);
            x = run.end.min(end);
            self.removed.push(run);
        }
    }
}

fn is_full(row: &[bool]) -> bool {
    run_end(row, 0, true) == row.len()
}

/// The first place from `start` on where `row` does not hold `value`, or its length.
fn run_end(row: &[bool], start: usize, value: bool) -> usize {
    /// Voxels that are compared at a time.
    const STEP: usize = 32;
    let mut end = start;
    while row[end..].first_chunk::<STEP>().is_some_and(|chunk| chunk.iter().fold(true, |same, other| same & (*other == value))) {
        end += STEP;
    }
    end + row[end..].iter().take_while(|other| **other == value).count()
}

/// Where the rows of `bbox` lie in a volume of `spatial` shape.
fn rows(bbox: &BoundingBox, spatial: [usize; 3]) -> impl Iterator<Item = Range<usize>> {
    let BoundingBox { lower, upper } = *bbox;
    (lower[0]..upper[0]).flat_map(move |z| {
        (lower[1]..upper[1]).map(move |y| {
            let row = (z * spatial[1] + y) * spatial[2];
            row + lower[2]..row + upper[2]
        })
    })
}

/// The smallest box around everything that is true in `mask`, which is (Z, Y, X) in C order; the whole volume when nothing is.
///
/// # Panics
/// When `mask` does not have the size of `spatial`.
pub fn bounding_box(mask: &[bool], spatial: [usize; 3]) -> BoundingBox {
    let [depth, height, width] = spatial;
    assert_eq!(mask.len(), depth * height * width, "mask and spatial shape differ in size");
    let mut bbox = BoundingBox { lower: spatial, upper: [0; 3] };
    for z in 0..depth {
        for y in 0..height {
            let row = &mask[(z * height + y) * width..][..width];
            let first = run_end(row, 0, false);
            if first == width {
                continue;
            }
            // The ends of a row are all that matters, and of the upper end what is not in the box yet.
            let beyond = bbox.upper[2];
            let upper = row[beyond..].iter().rposition(|&inside| inside).map_or(beyond, |last| beyond + last + 1);
            for (axis, (lower, upper)) in [(z, z + 1), (y, y + 1), (first, upper)].into_iter().enumerate() {
                bbox.lower[axis] = bbox.lower[axis].min(lower);
                bbox.upper[axis] = bbox.upper[axis].max(upper);
            }
        }
    }
    if bbox.upper == [0; 3] { BoundingBox::whole(spatial) } else { bbox }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 5x5x5 cube with a hollow 3x3x3 shell around its centre.
    fn shell() -> Volume<f32> {
        let mut volume = Volume::filled([1, 5, 5, 5], 0.0);
        for z in 1..4 {
            for y in 1..4 {
                for x in 1..4 {
                    volume.data_mut()[(z * 5 + y) * 5 + x] = 1.0;
                }
            }
        }
        volume.data_mut()[62] = 0.0;
        volume
    }

    #[test]
    fn an_enclosed_zero_is_filled() {
        let mask = nonzero_mask(&shell());
        assert_eq!(mask.iter().filter(|&&m| m).count(), 27);
        assert_eq!(bounding_box(&mask, [5, 5, 5]), BoundingBox { lower: [1; 3], upper: [4; 3] });
    }

    #[test]
    fn a_hole_that_opens_through_a_face_is_not_filled_but_through_an_edge_it_is() {
        let mut open = shell();
        open.data_mut()[2 * 25 + 2 * 5 + 1] = 0.0;
        assert_eq!(nonzero_mask(&open).iter().filter(|&&m| m).count(), 25);

        let mut edge = shell();
        edge.data_mut()[2 * 25 + 5 + 1] = 0.0;
        assert_eq!(nonzero_mask(&edge).iter().filter(|&&m| m).count(), 26);
    }

    #[test]
    fn a_single_slice_has_no_holes() {
        let mut ring = Volume::filled([1, 1, 3, 3], 1.0);
        ring.data_mut()[4] = 0.0;
        assert!(!nonzero_mask(&ring)[4]);
    }

    #[test]
    fn channels_are_joined_and_an_empty_image_keeps_its_size() {
        let mut volume = Volume::filled([2, 3, 3, 3], 0.0);
        assert_eq!(bounding_box(&nonzero_mask(&volume), [3, 3, 3]), BoundingBox::whole([3, 3, 3]));
        volume.channel_mut(0)[0] = 1.0;
        volume.channel_mut(1)[14] = f32::NAN;
        assert_eq!(bounding_box(&nonzero_mask(&volume), [3, 3, 3]), BoundingBox { lower: [0; 3], upper: [2, 2, 3] });
    }
}
