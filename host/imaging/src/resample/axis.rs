//! Where the output voxels of one axis lie among its input voxels, and what they are made of.

use super::Order;

/// What the output voxels along one axis are made of.
#[derive(Debug)]
pub(super) enum Axis {
    /// The size stays, and so do the voxels.
    Same,
    /// One input voxel each.
    Nearest(Vec<usize>),
    /// Two input voxels each.
    Linear(Vec<Tap<2>>),
    /// Four spline coefficients each, of a line that has [`PADDING`] more on both sides.
    Cubic(Vec<Tap<4>>),
}

/// The places along a line that are mixed to one output voxel, and their weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tap<const N: usize> {
    pub index: [usize; N],
    pub weight: [f32; N],
}

impl Axis {
    pub fn new(size: usize, new_size: usize, order: Order) -> Self {
        match order {
            _ if size == new_size => Self::Same,
            Order::Nearest => Self::Nearest(nearest(size, new_size)),
            Order::NearestExact => Self::Nearest(nearest_exact(size, new_size)),
            Order::Linear => Self::Linear(
                linear(size, new_size).into_iter().map(|pair| Tap { index: pair.index, weight: pair.weight.map(|w| w as f32) }).collect(),
            ),
            Order::Cubic => Self::Cubic((0..new_size).map(|output| cubic(position(output, size, new_size))).collect()),
        }
    }

    /// Whether values appear that are no input voxel's.
    pub fn interpolates(&self) -> bool {
        matches!(self, Self::Linear(_) | Self::Cubic(_))
    }

    pub fn is_same(&self) -> bool {
        matches!(self, Self::Same)
    }

    /// The two input voxels that output voxel `output` is made of; a single one stands twice and is to be taken as it is.
    ///
    /// # Panics
    /// Along a cubic axis, where it takes more than two.
    pub fn tap(&self, output: usize) -> Tap<2> {
        let single = |index| Tap { index: [index, index], weight: [1.0, 0.0] };
        match self {
            Self::Same => single(output),
            Self::Nearest(nearest) => single(nearest[output]),
            Self::Linear(taps) => taps[output],
            Self::Cubic(_) => unreachable!("cubic interpolation mixes four coefficients"),
        }
    }
}

/// Spline coefficients beyond either end of a line that cubic interpolation reaches.
pub(super) const PADDING: usize = 2;

/// The cubic B-spline at distances 1 + x, x, 1 - x and 2 - x of a position, times six: `spline` leaves out that factor.
fn cubic(position: f64) -> Tap<4> {
    let position = position + PADDING as f64;
    let lower = position.floor();
    let x = position - lower;
    let y = 1.0 - x;
    let weight = [y * y * y, x * x * (x - 2.0) * 3.0 + 4.0, y * y * (y - 2.0) * 3.0 + 4.0, x * x * x];
    Tap { index: std::array::from_fn(|i| lower as usize - 1 + i), weight: weight.map(|w| w as f32) }
}

/// The position of output voxel `output` in units of input voxels; outside of [0, input_size - 1] by up to half a voxel.
fn position(output: usize, input_size: usize, output_size: usize) -> f64 {
    (output as f64 + 0.5) * (input_size as f64 / output_size as f64) - 0.5
}

/// The input voxel nearest to every output voxel; the upper one at equal distance.
pub(super) fn nearest(input_size: usize, output_size: usize) -> Vec<usize> {
    (0..output_size).map(|output| ((clamped(output, input_size, output_size) + 0.5).floor() as usize).min(input_size - 1)).collect()
}

/// The input voxel of every output voxel by torch's `nearest-exact`.
pub(super) fn nearest_exact(input_size: usize, output_size: usize) -> Vec<usize> {
    let scale = input_size as f32 / output_size as f32;
    (0..output_size).map(|output| (((output as f32 + 0.5) * scale) as usize).min(input_size - 1)).collect()
}

/// The two input voxels that linear interpolation mixes, and their weights in full precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pair {
    pub index: [usize; 2],
    pub weight: [f64; 2],
}

impl Pair {
    /// Takes one input voxel as it is.
    pub fn single(index: usize) -> Self {
        Self { index: [index, index], weight: [1.0, 0.0] }
    }

    /// Whether both are the same voxel.
    pub fn is_single(&self) -> bool {
        self.index[0] == self.index[1]
    }
}

/// What linear interpolation mixes for every output voxel. Beyond the outermost voxel centres the outermost value stands.
pub(super) fn linear(input_size: usize, output_size: usize) -> Vec<Pair> {
    let pair = |output| {
        let position = clamped(output, input_size, output_size);
        let lower = position.floor();
        let lower_weight = 1.0 - (position - lower);
        if lower_weight == 1.0 {
            return Pair::single(lower as usize);
        }
        // The second weight is what is left of 1, as in scipy: label votes tie or not by the last bit.
        Pair { index: [lower as usize, lower as usize + 1], weight: [lower_weight, 1.0 - lower_weight] }
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
        assert_eq!(linear(2, 4)[3], Pair::single(1));
    }

    #[test]
    fn a_single_voxel_is_its_own_neighbour() {
        assert_eq!(nearest(1, 3), [0, 0, 0]);
        assert_eq!(linear(1, 3), [Pair::single(0); 3]);
    }

    #[test]
    fn cubic_weights_sum_to_six_and_stay_within_the_padded_line() {
        let Axis::Cubic(taps) = Axis::new(3, 100, Order::Cubic) else { unreachable!("sizes differ") };
        assert!(taps.iter().all(|tap| (tap.weight.iter().sum::<f32>() - 6.0).abs() < 1e-5));
        assert_eq!((taps[0].index[0], taps[99].index[3]), (0, 3 + 2 * PADDING - 1));
    }
}
