//! The outermost voxels of every label.

use super::check_length;

/// Marks with 1 the foreground voxels (label above 0) that have a face neighbour of another label, and all others with 0: a
/// boundary one voxel wide, inside every label and on both sides where two labels touch.
///
/// `labels` and `out` have shape `spatial` (z, y, x); a voxel has 6 face neighbours, 4 where z is 1. Nothing beyond the patch is
/// another label, so that no boundary runs along the patch's edge. Background and labels below 0 are never marked, but their
/// neighbours are. For labels that are not negative this equals
/// `skimage.segmentation.find_boundaries(labels, connectivity=1, mode="inner", background=0)`.
///
/// # Panics
/// When `labels` or `out` does not have as many elements as `spatial` says.
pub fn boundary(labels: &[i16], spatial: [usize; 3], out: &mut [i16]) {
    check_length(spatial, labels.len());
    check_length(spatial, out.len());
    let [depth, height, width] = spatial;
    let row = |z: usize, y: usize| &labels[(z * height + y) * width..][..width];
    for (i, marks) in out.chunks_exact_mut(width.max(1)).enumerate() {
        let (z, y) = (i / height, i % height);
        let own = row(z, y);
        // At the patch's edge a row is its own neighbour, which never differs.
        let neighbours =
            [row(z.saturating_sub(1), y), row((z + 1).min(depth - 1), y), row(z, y.saturating_sub(1)), row(z, (y + 1).min(height - 1))];
        mark_row(own, neighbours, marks);
    }
}

/// Loops without branches over slices of one length, which the compiler turns into vector code.
fn mark_row(own: &[i16], [above, below, back, front]: [&[i16]; 4], marks: &mut [i16]) {
    let last = own.len() - 1;
    let others = above.iter().zip(below).zip(back).zip(front);
    for ((mark, label), (((a, b), c), d)) in marks.iter_mut().zip(own).zip(others) {
        *mark = i16::from((label != a) | (label != b) | (label != c) | (label != d));
    }
    for ((mark, label), left) in marks[1..].iter_mut().zip(&own[1..]).zip(&own[..last]) {
        *mark |= i16::from(label != left);
    }
    for ((mark, label), right) in marks[..last].iter_mut().zip(&own[..last]).zip(&own[1..]) {
        *mark |= i16::from(label != right);
    }
    for (mark, label) in marks.iter_mut().zip(own) {
        *mark &= i16::from(*label > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_touch_are_marked_on_both_sides() {
        let mut out = [7; 8];
        boundary(&[1, 1, 1, 2, 2, 2, 2, 0], [1, 1, 8], &mut out);
        assert_eq!(out, [0, 0, 1, 1, 0, 0, 1, 0]);
        for spatial in [[1, 8, 1], [8, 1, 1]] {
            let mut turned = [7; 8];
            boundary(&[1, 1, 1, 2, 2, 2, 2, 0], spatial, &mut turned);
            assert_eq!(turned, out);
        }
    }

    #[test]
    fn labels_below_zero_differ_and_are_not_marked() {
        let mut out = [7; 4];
        boundary(&[-1, 3, 3, 3], [1, 2, 2], &mut out);
        assert_eq!(out, [0, 1, 1, 0]);
    }

    #[test]
    fn a_patch_without_voxels_has_no_boundary() {
        boundary(&[], [0, 4, 4], &mut []);
        boundary(&[], [4, 4, 0], &mut []);
    }
}
