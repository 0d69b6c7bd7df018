//! How a patch is taken out of a volume: copied where it is neither turned nor scaled, else interpolated.
//!
//! A [`Placement`](super::placement::Placement) says where each voxel of the patch lies in the volume. Copies go row by row
//! ([`crop`]). For the rest a [`Grid`] is walked in chunks of a row ([`chunk`]), at which images are interpolated linearly
//! ([`linear`], or [`scale`] where nothing is turned) and labels take a vote ([`vote`]); [`nearest`] does both with order 0. Rules are
//! those of `torch.nn.functional.grid_sample` with `align_corners=False` and zero padding: a sample beyond the outermost voxel
//! centres is blended with the padding value.

mod chunk;
pub(super) mod crop;
mod linear;
mod nearest;
mod scale;
mod vote;

pub(super) use vote::Cells;

use super::placement::Frame;
use crate::BoundingBox;

/// Where the voxels of a turned or scaled patch lie in a volume, of which the part around them is at hand: the source.
///
/// Positions are those in the volume, also where only a part of it is at hand: relative to that part they would be rounded in
/// another way, and the same patch would come out different.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    /// Size of the patch in voxels.
    pub patch: [usize; 3],
    /// Position of the patch's centre, in voxels of the volume.
    pub centre: [f64; 3],
    /// From an offset to the patch's centre to one in the volume.
    pub matrix: [[f64; 3]; 3],
    /// Part of the volume that may be sampled; what lies elsewhere is outside.
    pub extent: BoundingBox,
    /// The box that nnU-Net loads, where its zeros are asked for.
    pub frame: Option<Frame>,
    /// Part of the volume that is at hand.
    pub source: BoundingBox,
    /// Part of it that the patch samples.
    pub needed: BoundingBox,
}

/// What a sample finds where the volume has no voxel, or where it must not look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outside<T> {
    /// Beyond the volume.
    pub volume: T,
    /// Beyond the box that nnU-Net loads.
    pub frame: T,
}

impl<T: Copy> Outside<T> {
    /// The same everywhere.
    pub(super) fn all(value: T) -> Self {
        Self { volume: value, frame: value }
    }
}

impl Grid {
    /// Whether every slice of the patch lies on a slice of the volume, so that nothing is blended along z.
    fn is_flat(&self) -> bool {
        let [[zz, zy, zx], ..] = self.matrix;
        zz.abs() == 1.0 && zy == 0.0 && zx == 0.0
    }

    /// Whether axes stay axes, and are only scaled and flipped.
    fn is_scaled_only(&self) -> bool {
        (0..3).all(|row| (0..3).all(|column| row == column || self.matrix[row][column] == 0.0))
    }

    /// Position in the volume of voxel (z, y, x) of the patch.
    fn position(&self, voxel: [usize; 3]) -> [f64; 3] {
        let offset: [f64; 3] = [0, 1, 2].map(|axis| voxel[axis] as f64 - (self.patch[axis] as f64 - 1.0) / 2.0);
        [0, 1, 2].map(|axis| {
            let [a, b, c] = self.matrix[axis];
            self.centre[axis] + (a * offset[0] + b * offset[1] + c * offset[2])
        })
    }

    /// Elements from a voxel of the source to the next along (z, y, x).
    fn strides(&self) -> [usize; 3] {
        let [_, height, width] = self.source.size();
        [height * width, width, 1]
    }

    /// Voxels of one channel of the patch, and of the source.
    fn voxels(&self) -> (usize, usize) {
        (self.patch.iter().product(), self.source.size().iter().product())
    }

    fn contains(&self, position: [i32; 3]) -> bool {
        (0..3).all(|axis| (self.extent.lower[axis] as i32..self.extent.upper[axis] as i32).contains(&position[axis]))
    }

    /// Value of voxel `position` of the volume; `outside` where there is none.
    fn voxel<T: Copy>(&self, channel: &[T], position: [i32; 3], outside: Outside<T>) -> T {
        if !self.contains(position) {
            return if self.frame.is_none_or(|frame| frame.contains(position)) { outside.volume } else { outside.frame };
        }
        let [z, y, x] = [0, 1, 2].map(|axis| position[axis] as usize - self.source.lower[axis]);
        let strides = self.strides();
        channel[z * strides[0] + y * strides[1] + x]
    }
}
