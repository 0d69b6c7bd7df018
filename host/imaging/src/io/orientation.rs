//! Turning volumes by quarters, so that their axes lead to the patient's right (R), front (A) and top (S), as nnU-Net's readers "with reorient" do.

use crate::Volume;

/// Which axis of a volume becomes which, and which of them run backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    /// Axis (x, y or z) of the volume that becomes x, y and z.
    pub(super) axes: [usize; 3],
    /// Whether each of the new axes (x, y, z) runs against the one that it was.
    pub(super) flipped: [bool; 3],
}

impl Orientation {
    /// Of a volume that lies so already.
    pub const RAS: Self = Self { axes: [0, 1, 2], flipped: [false; 3] };

    /// To RAS, of a volume whose axes x, y and z run along the vectors of `direction` in NIfTI's frame.
    ///
    /// Axes are taken in the order of how clearly they lead along one of the patient's; of sheared ones, the nearest that are at right angles
    /// are judged (`nibabel.orientations.io_orientation`).
    pub fn to_ras(direction: [[f64; 3]; 3]) -> Self {
        let rotation = nearest_rotation(direction);
        let clearest = |axis: usize| rotation[axis].iter().fold(0.0, |most: f64, part| most.max(part.abs()));
        let mut order = [0, 1, 2];
        order.sort_by(|a, b| clearest(*b).total_cmp(&clearest(*a)));
        let (mut axes, mut flipped, mut taken) = ([0; 3], [false; 3], [false; 3]);
        for axis in order {
            let part = |of_patient: usize| rotation[axis][of_patient];
            let free = (0..3).filter(|of_patient| !taken[*of_patient]);
            let leads = free.reduce(|best, next| if part(next).abs() > part(best).abs() { next } else { best }).unwrap_or(axis);
            taken[leads] = true;
            (axes[leads], flipped[leads]) = (axis, part(leads) < 0.0);
        }
        Self { axes, flipped }
    }

    /// The volume in this orientation.
    pub fn turn<T: Copy + Default>(self, volume: Volume<T>) -> Volume<T> {
        // Volumes have their axes in the order z, y, x.
        let axes = [2, 1, 0].map(|axis: usize| 2 - self.axes[axis]);
        let mut turned = if axes == [0, 1, 2] { volume } else { volume.transpose(axes) };
        let [x, y, z] = self.flipped;
        turned.flip([z, y, x]);
        turned
    }

    /// The volume that [became](Self::turn) this one.
    pub fn turn_back<T: Copy + Default>(self, volume: Volume<T>) -> Volume<T> {
        let (mut axes, mut flipped) = ([0; 3], [false; 3]);
        for (new, old) in self.axes.into_iter().enumerate() {
            (axes[old], flipped[old]) = (new, self.flipped[new]);
        }
        Self { axes, flipped }.turn(volume)
    }
}

/// The orthogonal matrix that is nearest to one with columns `direction`, by Newton's iteration for the polar decomposition (Higham 1986).
/// What has no inverse stays as it is.
fn nearest_rotation(direction: [[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let mut matrix = direction;
    for _ in 0..100 {
        // The inverse's transpose has the cross products of columns as its columns.
        let [x, y, z] = matrix;
        let determinant = dot(x, cross(y, z));
        if determinant.abs() < 1e-12 {
            return matrix;
        }
        let inverse = [cross(y, z), cross(z, x), cross(x, y)].map(|column| column.map(|part| part / determinant));
        let mut moved = 0.0_f64;
        for (column, inverse) in matrix.iter_mut().flatten().zip(inverse.as_flattened()) {
            let mean = 0.5 * (*column + inverse);
            moved = moved.max((mean - *column).abs());
            *column = mean;
        }
        if moved < 1e-14 {
            break;
        }
    }
    matrix
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(&b).map(|(a, b)| a * b).sum()
}

fn cross(a: [f64; 3], b: [f64; 3]) -> [f64; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_back_gives_the_volume_again() {
        let volume = Volume::new([2, 2, 3, 4], (0..48).collect::<Vec<i32>>());
        // x leads down, y to the left, z to the front.
        let orientation = Orientation::to_ras([[0.0, 0.1, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.1]]);
        assert_eq!(orientation, Orientation { axes: [1, 2, 0], flipped: [true, false, true] });
        let turned = orientation.turn(volume.clone());
        assert_eq!(turned.shape(), [2, 4, 2, 3]);
        assert_eq!(turned.data()[..3], [11, 7, 3]);
        assert_eq!(orientation.turn_back(turned), volume);
    }

    #[test]
    fn sheared_axes_are_judged_by_the_nearest_that_are_not() {
        let sheared = [[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, -1.0]];
        assert_eq!(Orientation::to_ras(sheared), Orientation { axes: [0, 1, 2], flipped: [false, false, true] });
        let rotation = nearest_rotation(sheared);
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            assert!(dot(rotation[a], rotation[b]).abs() < 1e-12);
        }
    }
}
