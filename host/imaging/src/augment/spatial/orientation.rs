//! The part of a move that maps voxels onto voxels.

use super::affine::Affine;
#[cfg(test)]
use serde::Deserialize;

/// Which way the axes of a patch run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in super::super) struct Orientation {
    /// For each axis of the patch, the axis before that it runs along, and in which direction, 1 or -1.
    pub steps: [(usize, i64); 3],
}

impl Default for Orientation {
    fn default() -> Self {
        Self { steps: [(0, 1), (1, 1), (2, 1)] }
    }
}

impl Orientation {
    /// `torch.rot90` by one quarter: the first axis takes the place of the second, reversed.
    pub(super) fn quarter_turn(first: usize, second: usize) -> Self {
        let mut turn = Self::default();
        turn.steps[first] = (second, -1);
        turn.steps[second] = (first, 1);
        turn
    }

    /// This one, and `next` of what comes out of it.
    pub(in super::super) fn then(&self, next: &Self) -> Self {
        Self {
            steps: next.steps.map(|(axis, direction)| {
                let (source, own) = self.steps[axis];
                (source, own * direction)
            }),
        }
    }

    /// The matrix of `affine` for patches that are reoriented after it: from an offset in the patch to one in the volume.
    pub(in super::super) fn after(&self, affine: &Affine) -> [[f64; 3]; 3] {
        affine.matrix.map(|row| self.steps.map(|(axis, direction)| row[axis] * direction as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reorients a cube of side 3.
    fn apply(orientation: &Orientation, cube: &[usize]) -> Vec<usize> {
        let place = |index: usize| [index / 9, index / 3 % 3, index % 3];
        (0..27)
            .map(|index| {
                let mut source = [0; 3];
                for ((axis, direction), at) in orientation.steps.iter().zip(place(index)) {
                    source[*axis] = if *direction > 0 { at } else { 2 - at };
                }
                cube[(source[0] * 3 + source[1]) * 3 + source[2]]
            })
            .collect()
    }

    #[test]
    fn a_quarter_turn_is_that_of_torch_and_four_are_none() {
        let cube: Vec<usize> = (0..27).collect();
        let turn = Orientation::quarter_turn(1, 2);
        // torch.rot90(torch.arange(27).view(3, 3, 3), 1, (1, 2))[0]
        assert_eq!(apply(&turn, &cube)[..9], [2, 5, 8, 1, 4, 7, 0, 3, 6]);
        assert_eq!((0..4).fold(Orientation::default(), |all, _| all.then(&turn)), Orientation::default());
    }

    #[test]
    fn orientations_one_after_the_other_are_one() {
        let cube: Vec<usize> = (0..27).collect();
        let first = Orientation::quarter_turn(0, 2);
        let second = Orientation { steps: [(1, 1), (2, -1), (0, 1)] };
        assert_eq!(apply(&first.then(&second), &cube), apply(&second, &apply(&first, &cube)));
    }
}
