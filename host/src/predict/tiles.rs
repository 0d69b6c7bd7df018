//! Where the tiles of a sliding window lie.

/// Lower corners along one axis of `size` voxels for tiles of `patch` voxels that are at most `step` patches apart: evenly spread, the last one ends
/// with the axis (`sliding_window_prediction.py`, `compute_steps_for_sliding_window`). `size` is at least `patch`.
fn steps(size: usize, patch: usize, step: f64) -> Vec<usize> {
    // More than one a voxel would lie on each other.
    let count = (((size - patch) as f64 / (patch as f64 * step)).ceil() as usize).min(size - patch) + 1;
    let distance = if count > 1 { (size - patch) as f64 / (count - 1) as f64 } else { 0.0 };
    // Half to even, as numpy rounds.
    (0..count).map(|i| (distance * i as f64).round_ties_even() as usize).collect()
}

/// Lower corners (z, y, x) of all tiles, z slowest; of every slice, where tiles are `flat`.
pub(super) fn corners(size: [usize; 3], patch: [usize; 3], step: f64, flat: bool) -> Vec<[usize; 3]> {
    let [z, y, x] = [0, 1, 2].map(|axis| if flat && axis == 0 { (0..size[0]).collect() } else { steps(size[axis], patch[axis], step) });
    let mut corners = Vec::with_capacity(z.len() * y.len() * x.len());
    for &z in &z {
        for &y in &y {
            corners.extend(x.iter().map(|&x| [z, y, x]));
        }
    }
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_nnunet() {
        assert_eq!(steps(110, 64, 0.5), [0, 23, 46]);
        assert_eq!(steps(128, 128, 0.5), [0]);
        assert_eq!(steps(9, 4, 0.5), [0, 2, 3, 5]);
        assert_eq!(steps(110, 64, 1.0), [0, 46]);
    }

    #[test]
    fn every_voxel_is_covered() {
        for (size, patch) in [(10, 3), (40, 40), (41, 40), (7, 1)] {
            let steps = steps(size, patch, 0.5);
            assert_eq!((steps[0], steps[steps.len() - 1] + patch), (0, size));
            assert!(steps.windows(2).all(|pair| pair[1] - pair[0] <= patch));
        }
    }
}
