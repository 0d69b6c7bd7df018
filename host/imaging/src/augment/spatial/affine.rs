//! The part of a move that interpolates.

#[cfg(test)]
use serde::Deserialize;

/// Linear map of offsets (z, y, x) to the patch's centre.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(test, derive(Deserialize))]
pub(in super::super) struct Affine {
    pub matrix: [[f64; 3]; 3],
}

impl Affine {
    pub(in super::super) fn identity() -> Self {
        Self { matrix: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]] }
    }

    /// Scales by `factors`, then turns by `angles` (radians) about z, then y, then x: nnU-Net's `Rz @ Ry @ Rx @ S`, whose
    /// "x" is the first array axis. With angles about the first axis only it is nnU-Net's 2D matrix.
    pub(in super::super) fn new(angles: [f64; 3], factors: [f64; 3]) -> Self {
        let [(s0, c0), (s1, c1), (s2, c2)] = angles.map(f64::sin_cos);
        let about_first = [[1.0, 0.0, 0.0], [0.0, c0, -s0], [0.0, s0, c0]];
        let about_second = [[c1, 0.0, s1], [0.0, 1.0, 0.0], [-s1, 0.0, c1]];
        let about_third = [[c2, -s2, 0.0], [s2, c2, 0.0], [0.0, 0.0, 1.0]];
        let mut matrix = product(&product(&about_third, &about_second), &about_first);
        for row in &mut matrix {
            for (value, factor) in row.iter_mut().zip(factors) {
                *value *= factor;
            }
        }
        Self { matrix }
    }
}

/// The matrix product a b.
fn product(a: &[[f64; 3]; 3], b: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}
