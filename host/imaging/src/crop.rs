//! Finding the part of an image that holds something: nnU-Net's crop to the nonzero region (`cropping.py`).

use crate::{BoundingBox, Volume};

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

fn fill_holes(mask: &mut [bool], [depth, height, width]: [usize; 3]) {
    let plane = height * width;
    // True where a voxel is known not to be an enclosed zero: foreground, or reached from the border.
    let mut settled = mask.to_vec();
    let mut front = Vec::new();
    let visit = |settled: &mut [bool], front: &mut Vec<usize>, voxel: usize| {
        if !settled[voxel] {
            settled[voxel] = true;
            front.push(voxel);
        }
    };
    for z in 0..depth {
        for y in 0..height {
            let row = z * plane + y * width;
            let is_face = z == 0 || z + 1 == depth || y == 0 || y + 1 == height;
            let step = if is_face || width == 1 { 1 } else { width - 1 };
            (0..width).step_by(step).for_each(|x| visit(&mut settled, &mut front, row + x));
        }
    }
    while let Some(voxel) = front.pop() {
        let (z, y, x) = (voxel / plane, voxel / width % height, voxel % width);
        for (coordinate, size, stride) in [(z, depth, plane), (y, height, width), (x, width, 1)] {
            if coordinate > 0 {
                visit(&mut settled, &mut front, voxel - stride);
            }
            if coordinate + 1 < size {
                visit(&mut settled, &mut front, voxel + stride);
            }
        }
    }
    for (inside, settled) in mask.iter_mut().zip(settled) {
        *inside |= !settled;
    }
}

/// The smallest box around everything that is true in `mask`, which is (Z, Y, X) in C order; the whole volume when nothing is.
///
/// # Panics
/// When `mask` does not have the size of `spatial`.
pub fn bounding_box(mask: &[bool], spatial: [usize; 3]) -> BoundingBox {
    let [depth, height, width] = spatial;
    assert_eq!(mask.len(), depth * height * width, "mask and spatial shape differ in size");
    let mut bbox = BoundingBox { lower: spatial, upper: [0; 3] };
    let mut include = |voxel: [usize; 3]| {
        for (axis, coordinate) in voxel.into_iter().enumerate() {
            bbox.lower[axis] = bbox.lower[axis].min(coordinate);
            bbox.upper[axis] = bbox.upper[axis].max(coordinate + 1);
        }
    };
    for z in 0..depth {
        for y in 0..height {
            let row = &mask[(z * height + y) * width..][..width];
            // The ends of a row are all that matters.
            if let (Some(first), Some(last)) = (row.iter().position(|&m| m), row.iter().rposition(|&m| m)) {
                include([z, y, first]);
                include([z, y, last]);
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
