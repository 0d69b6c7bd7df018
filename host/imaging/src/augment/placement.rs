//! Where a patch lies in a volume, how it is turned, scaled and flipped, and which box of the volume it shows.

use super::sample::Grid;
use super::sample::crop::Crop;
use super::spatial::{Affine, Orientation};
use crate::BoundingBox;

/// A patch that is placed, but not read yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placement {
    /// Spatial shape of the whole volume.
    volume: [usize; 3],
    /// Lower corner, may lie outside.
    origin: [i64; 3],
    size: [usize; 3],
    /// Around the patch's centre; none where it is neither turned nor scaled.
    affine: Option<Affine>,
    /// Beyond it nothing is sampled, where there is one.
    frame: Option<Frame>,
    orientation: Orientation,
    /// Part of the volume that the patch shows.
    needed: BoundingBox,
    /// Part of the volume that is at hand.
    source: BoundingBox,
}

/// The box around a patch that nnU-Net loads, in voxels of the volume; it may reach beyond the volume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame {
    pub lower: [i64; 3],
    pub size: [usize; 3],
}

impl Frame {
    /// The box of size `size` around the patch of size `patch` whose lower corner is voxel `origin` (nnU-Net's `data_loader.py`, `get_bbox`).
    pub(super) fn new(origin: [i64; 3], patch: [usize; 3], size: [usize; 3]) -> Self {
        Self { lower: std::array::from_fn(|axis| origin[axis] + (patch[axis] / 2) as i64 - (size[axis] / 2) as i64), size }
    }

    /// Its centre, and so that of a turned patch: half a voxel from that of a crop where one of the sizes is odd.
    fn centre(&self) -> [f64; 3] {
        std::array::from_fn(|axis| self.lower[axis] as f64 + (self.size[axis] as f64 - 1.0) / 2.0)
    }

    pub(super) fn contains(&self, voxel: [i32; 3]) -> bool {
        (0..3).all(|axis| (0..self.size[axis] as i64).contains(&(i64::from(voxel[axis]) - self.lower[axis])))
    }
}

impl Placement {
    /// The patch of size `size` whose lower corner is voxel `origin` in a volume of spatial shape `volume`. Around its centre it is first
    /// turned and scaled, then reoriented, which must not exchange axes of different sizes. Where it is, it shows nothing of the volume beyond
    /// the box of size `loaded` around it, if there is one.
    pub(super) fn new(
        volume: [usize; 3],
        origin: [i64; 3],
        size: [usize; 3],
        affine: Option<Affine>,
        orientation: Orientation,
        loaded: Option<[usize; 3]>,
    ) -> Self {
        let frame = loaded.filter(|_| affine.is_some()).map(|loaded| Frame::new(origin, size, loaded));
        // Turned by nothing: a rotation whose every axis was left out. In nnU-Net's box that may still move it by half a voxel.
        let affine = affine.filter(|affine| frame.is_some() || *affine != Affine::identity());
        let placed = Self {
            volume,
            origin,
            size,
            affine,
            frame,
            orientation,
            needed: BoundingBox::whole(volume),
            source: BoundingBox::whole(volume),
        };
        let (lower, upper) = match &placed.affine {
            None => (origin, std::array::from_fn(|axis| origin[axis] + size[axis] as i64)),
            Some(affine) => bounds(affine, placed.centre(), size),
        };
        let extent = placed.extent();
        let within = |axis: usize, place: i64| place.clamp(extent.lower[axis] as i64, extent.upper[axis] as i64) as usize;
        let upper: [usize; 3] = std::array::from_fn(|axis| within(axis, upper[axis]));
        let lower = std::array::from_fn(|axis| within(axis, lower[axis]).min(upper[axis]));
        let needed = BoundingBox { lower, upper };
        Self { needed, source: needed, ..placed }
    }

    /// The part of the volume that may be sampled.
    fn extent(&self) -> BoundingBox {
        let Some(frame) = &self.frame else { return BoundingBox::whole(self.volume) };
        let within = |axis: usize, place: i64| place.clamp(0, self.volume[axis] as i64) as usize;
        BoundingBox {
            lower: std::array::from_fn(|axis| within(axis, frame.lower[axis])),
            upper: std::array::from_fn(|axis| within(axis, frame.lower[axis] + frame.size[axis] as i64)),
        }
    }

    /// Around which it is turned and scaled, in voxels of the volume.
    fn centre(&self) -> [f64; 3] {
        match &self.frame {
            Some(frame) => frame.centre(),
            None => std::array::from_fn(|axis| self.origin[axis] as f64 + (self.size[axis] as f64 - 1.0) / 2.0),
        }
    }

    /// The patch at the same place, neither turned nor scaled nor reoriented.
    pub(super) fn plain(&self) -> Self {
        Self::new(self.volume, self.origin, self.size, None, Orientation::default(), None)
    }

    pub(super) fn size(&self) -> [usize; 3] {
        self.size
    }

    /// The part of the volume that is needed to cut the patch, empty when the patch lies outside.
    pub(super) fn source(&self) -> &BoundingBox {
        &self.source
    }

    /// How the patch samples the source, or copies it.
    pub(super) fn sampling(&self) -> Sampling {
        match &self.affine {
            None => Sampling::Crop(self.crop(self.source.lower, self.source.size())),
            Some(affine) => Sampling::Grid(Grid {
                patch: self.size,
                centre: self.centre(),
                matrix: self.orientation.after(affine),
                extent: self.extent(),
                frame: self.frame,
                source: self.source,
                needed: self.needed,
            }),
        }
    }

    /// Which voxels of the patch lie in the volume; of turned patches those whose nearest voxel exists.
    pub(super) fn inside(&self, out: &mut [bool]) {
        match self.sampling() {
            Sampling::Crop(_) => self.crop([0; 3], self.volume).inside(out),
            Sampling::Grid(grid) => grid.inside(out),
        }
    }

    /// From an offset in the volume to one in the patch, both in voxels; none where nothing turns, scales or flips.
    pub(super) fn inverse(&self) -> Option<[[f64; 3]; 3]> {
        let identity = Affine::identity();
        let moved = self.affine.is_some() || self.orientation != Orientation::default();
        moved.then(|| invert(&self.orientation.after(self.affine.as_ref().unwrap_or(&identity))))
    }

    /// The same patch, with the whole volume for its source.
    pub(super) fn of_whole_volumes(&self) -> Self {
        Self { source: BoundingBox::whole(self.volume), ..self.clone() }
    }

    fn crop(&self, lower: [usize; 3], shape: [usize; 3]) -> Crop {
        let mut first = std::array::from_fn(|axis| self.origin[axis] - lower[axis] as i64);
        for (axis, direction) in self.orientation.steps {
            if direction < 0 {
                first[axis] += self.size[axis] as i64 - 1;
            }
        }
        Crop { patch: self.size, first, steps: self.orientation.steps, source: shape }
    }
}

/// How voxels of a patch follow from those of its source.
pub(super) enum Sampling {
    Crop(Crop),
    Grid(Grid),
}

/// Box around all voxels that are blended into those of a turned patch, `upper` not included. The extremes of a linear map lie at
/// the corners of the patch; one voxel more on each side covers what rounding does to positions in between.
fn bounds(affine: &Affine, centre: [f64; 3], size: [usize; 3]) -> ([i64; 3], [i64; 3]) {
    let half = size.map(|n| (n as f64 - 1.0) / 2.0);
    let reach = affine.matrix.map(|row| row.iter().zip(half).map(|(value, half)| value.abs() * half).sum::<f64>());
    let lower = std::array::from_fn(|axis| (centre[axis] - reach[axis]).floor() as i64 - 1);
    let upper = std::array::from_fn(|axis| (centre[axis] + reach[axis]).floor() as i64 + 3);
    (lower, upper)
}

fn invert(m: &[[f64; 3]; 3]) -> [[f64; 3]; 3] {
    let cofactor = |r: usize, c: usize| {
        let [r0, r1, c0, c1] = [(r + 1) % 3, (r + 2) % 3, (c + 1) % 3, (c + 2) % 3];
        m[r0][c0] * m[r1][c1] - m[r0][c1] * m[r1][c0]
    };
    let determinant: f64 = (0..3).map(|c| m[0][c] * cofactor(0, c)).sum();
    std::array::from_fn(|r| std::array::from_fn(|c| cofactor(c, r) / determinant))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_undoes_the_map() {
        let affine = Affine::new([0.3, -0.7, 1.1], [1.3, 0.8, 1.1]);
        let orientation = Orientation { steps: [(1, -1), (0, 1), (2, 1)] };
        let placement = Placement::new([20; 3], [0; 3], [8; 3], Some(affine), orientation, None);
        let (map, inverse) = (orientation.after(&affine), placement.inverse().expect("turned"));
        let product = |r: usize, c: usize| (0..3).map(|k| inverse[r][k] * map[k][c]).sum::<f64>();
        for (r, c) in (0..9).map(|i| (i / 3, i % 3)) {
            assert!((product(r, c) - f64::from(u8::from(r == c))).abs() < 1e-12, "{r} {c}");
        }
        assert_eq!(Placement::new([20; 3], [0; 3], [8; 3], None, Orientation::default(), None).inverse(), None);
    }
}
