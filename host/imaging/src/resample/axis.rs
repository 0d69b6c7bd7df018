//! Where the output voxels of one axis lie among its input voxels.

/// The position of output voxel `output` in units of input voxels; outside of [0, input_size - 1] by up to half a voxel.
pub(super) fn position(output: usize, input_size: usize, output_size: usize) -> f64 {
    (output as f64 + 0.5) * (input_size as f64 / output_size as f64) - 0.5
}

/// The input voxel nearest to every output voxel; the upper one at equal distance.
pub(super) fn nearest(input_size: usize, output_size: usize) -> Vec<usize> {
    (0..output_size).map(|output| ((clamped(output, input_size, output_size) + 0.5).floor() as usize).min(input_size - 1)).collect()
}

/// The two input voxels that linear interpolation mixes, and their weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    pub index: [usize; 2],
    pub weight: [f64; 2],
}

/// What linear interpolation mixes for every output voxel. Beyond the outermost voxel centres the outermost value stands.
pub(super) fn linear(input_size: usize, output_size: usize) -> Vec<Pair> {
    let pair = |output| {
        let position = clamped(output, input_size, output_size);
        let lower = position.floor();
        let lower_weight = 1.0 - (position - lower);
        let index = lower as usize;
        // The second weight is what is left of 1, as in scipy: label votes tie or not by the last bit.
        Pair { index: [index, (index + 1).min(input_size - 1)], weight: [lower_weight, 1.0 - lower_weight] }
    };
    (0..output_size).map(pair).collect()
}

fn clamped(output: usize, input_size: usize, output_size: usize) -> f64 {
    position(output, input_size, output_size).clamp(0.0, (input_size - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halving_takes_the_upper_voxel_and_the_mean() {
        assert_eq!(nearest(4, 2), [1, 3]);
        assert_eq!(linear(4, 2)[1], Pair { index: [2, 3], weight: [0.5, 0.5] });
    }

    #[test]
    fn doubling_repeats_and_stays_inside() {
        assert_eq!(nearest(2, 4), [0, 0, 1, 1]);
        assert_eq!(linear(2, 4)[3], Pair { index: [1, 1], weight: [1.0, 0.0] });
    }

    #[test]
    fn a_single_voxel_is_its_own_neighbour() {
        assert_eq!(nearest(1, 3), [0, 0, 0]);
        assert!(linear(1, 3).iter().all(|pair| pair.index == [0, 0]));
    }
}
