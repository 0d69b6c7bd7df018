//! Where a volume lies in space.

use super::nifti;
use super::orientation::Orientation;

/// Origins closer than this are the same: headers hold 32-bit floats, and tools round them differently.
const ORIGIN_TOLERANCE_MM: f64 = 1e-3;
/// Entries of a direction matrix closer than this are the same.
const DIRECTION_TOLERANCE: f64 = 1e-3;
/// Relative; numpy's `allclose`, by which nnU-Net compares spacings.
const SPACING_TOLERANCE: f64 = 1e-5;
/// nnU-Net's factor between the slice "distance" of a file without slices and its largest spacing (`simpleitk_reader_writer.py`).
const SPACING_FACTOR_2D: f64 = 999.0;
/// The directions of the axes x, y and z of an image whose axes are those of ITK's frame.
const ALONG_ITK: [[f64; 3]; 3] = [[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]];
const IDENTITY: [[f64; 3]; 3] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

/// Spacing, position and orientation of a volume, whatever format they come from and whatever format they are written in.
///
/// Positions are in NIfTI's frame, whose axes lead to the patient's right, front (anterior) and up (superior): "RAS". ITK, and with it
/// NRRD, MetaImage and nnU-Net's plans, uses "LPS"; the first two coordinates have the other sign there.
#[derive(Clone, Debug)]
pub struct Geometry {
    spacing: [f64; 3],
    origin: [f64; 3],
    direction: [[f64; 3]; 3],
    planar: bool,
    /// Where it comes from NIfTI: a NIfTI file that is written with this geometry has the same bytes for it.
    header: Option<Box<nifti::Header>>,
    /// Where the volume was turned when it was read: how, and the geometry of the file.
    source: Option<Box<(Orientation, Self)>>,
}

impl Geometry {
    /// An axis-aligned geometry with its origin at zero, for data that comes from no file. Spacing in mm, (z, y, x).
    pub fn with_spacing(spacing: [f64; 3]) -> Self {
        Self { spacing, origin: [0.0; 3], direction: IDENTITY, planar: false, header: None, source: None }
    }

    /// The geometry of an image of `rank` axes (two or more) that are listed x first. `lps` holds the position of the first voxel, and the
    /// vectors from one voxel to the next along each axis, in ITK's frame; what is not finite or has no length counts as absent.
    pub(super) fn from_itk(rank: usize, spacing: [f64; 3], lps: Placement) -> Self {
        let flip = |[x, y, z]: [f64; 3]| [0.0 - x, 0.0 - y, z];
        Self::from_nifti_frame(rank, spacing, Placement { origin: flip(lps.origin), direction: lps.direction.map(flip) })
    }

    /// As [`Self::from_itk`], in NIfTI's frame.
    pub(super) fn from_nifti_frame(rank: usize, [x, y, z]: [f64; 3], Placement { origin, direction }: Placement) -> Self {
        let planar = rank < 3;
        // A negative step is a step in the other direction.
        let signs = [x, y, if planar { 1.0 } else { z }].map(|step| if step < 0.0 { -1.0 } else { 1.0 });
        let direction = [0, 1, 2].map(|axis| unit(direction[axis]).map(|vector| vector.map(|value| value * signs[axis])));
        let [x, y, z] = [x, y, z].map(|step| if step != 0.0 && step.is_finite() { step.abs() } else { 1.0 });
        Self {
            spacing: if planar { [x.max(y) * SPACING_FACTOR_2D, y, x] } else { [z, y, x] },
            origin: if origin.iter().all(|value| value.is_finite()) { origin } else { [0.0; 3] },
            direction: if let [Some(x), Some(y), Some(z)] = direction { [x, y, z] } else { ALONG_ITK },
            planar,
            header: None,
            source: None,
        }
    }

    /// A geometry without position: that of a stack of slices with this spacing (z, y, x), or of a photograph, whose pixels count as 1 mm.
    pub(super) fn unplaced(stack: Option<[f64; 3]>) -> Self {
        let [z, y, x] = stack.unwrap_or([1.0; 3]);
        let origin = Placement { origin: [0.0; 3], direction: IDENTITY };
        Self::from_itk(if stack.is_some() { 3 } else { 2 }, [x, y, z], origin)
    }

    pub(super) fn with_header(self, header: nifti::Header) -> Self {
        Self { header: Some(Box::new(header)), ..self }
    }

    /// The NIfTI header that it comes from.
    pub(super) fn header(&self) -> Option<&nifti::Header> {
        self.header.as_deref()
    }

    /// The same with the lengths of the columns of its NIfTI header's matrix as spacing, where there is one.
    pub(super) fn spaced_by_matrix(self) -> Self {
        let steps = self.header.as_ref().and_then(|header| header.steps_of_matrix());
        Self { spacing: steps.map_or(self.spacing, |[x, y, z]| [z, y, x]), ..self }
    }

    /// The geometry of a volume of shape `spatial` (z, y, x) once it is [turned](Orientation::turn).
    pub(super) fn turned(self, orientation: Orientation, spatial: [usize; 3]) -> Self {
        let Orientation { axes, flipped } = orientation;
        let spacing = [2, 1, 0].map(|axis: usize| self.spacing[2 - axes[axis]]);
        let mut origin = self.origin;
        for (axis, _) in axes.iter().zip(flipped).filter(|(_, flipped)| *flipped) {
            // The last voxel along that axis has become the first.
            let length = self.spacing[2 - axis] * (spatial[2 - axis] - 1) as f64;
            origin.iter_mut().zip(self.direction[*axis]).for_each(|(origin, part)| *origin += part * length);
        }
        let signs = flipped.map(|flipped| if flipped { -1.0 } else { 1.0 });
        let direction = [0, 1, 2].map(|axis| self.direction[axes[axis]].map(|part| part * signs[axis]));
        Self { spacing, origin, direction, planar: self.planar, header: None, source: Some(Box::new((orientation, self))) }
    }

    /// Where the volume was turned when it was read: how, and the geometry of the file.
    pub(super) fn source(&self) -> Option<(Orientation, &Self)> {
        self.source.as_deref().map(|(orientation, geometry)| (*orientation, geometry))
    }

    /// The geometry of the file, where the volume was turned when it was read.
    pub fn of_file(&self) -> Option<&Self> {
        self.source.as_deref().map(|(_, geometry)| geometry)
    }

    /// Size of a voxel along (z, y, x) in mm. A file with two dimensions has no z and gets 999 times its larger spacing there, which
    /// keeps its only slice apart in all that follows (nnU-Net's convention).
    pub fn spacing(&self) -> [f64; 3] {
        self.spacing
    }

    /// Position (x, y, z) of the centre of the first voxel in mm, in NIfTI's frame (right, anterior, superior).
    pub fn origin(&self) -> [f64; 3] {
        self.origin
    }

    /// The unit vectors along which the axes x, y and z of the volume run, in that order, in NIfTI's frame (right, anterior, superior):
    /// the columns of the direction matrix.
    pub fn direction(&self) -> [[f64; 3]; 3] {
        self.direction
    }

    /// Whether the source has two dimensions, and with it every file that is written with this geometry and has one slice.
    pub fn is_planar(&self) -> bool {
        self.planar
    }

    /// Origin and axes in ITK's frame.
    pub fn in_itk(&self) -> Placement {
        // Zero minus zero has no sign.
        let flip = |[x, y, z]: [f64; 3]| [0.0 - x, 0.0 - y, z];
        Placement { origin: flip(self.origin), direction: self.direction.map(flip) }
    }

    /// How this geometry differs from another beyond rounding, in words; `None` when it does not. Files of one case should agree.
    pub fn differs_from(&self, other: &Self) -> Option<String> {
        self.spacing_differs(other).or_else(|| self.origin_differs(other)).or_else(|| self.direction_differs(other))
    }

    /// How the spacing differs: then the same voxels are of another size.
    pub fn spacing_differs(&self, other: &Self) -> Option<String> {
        let close = self.spacing.iter().zip(&other.spacing).all(|(a, b)| (a - b).abs() <= SPACING_TOLERANCE * b.abs());
        (!close).then(|| format!("spacing {:?} and {:?} mm (z, y, x)", self.spacing, other.spacing))
    }

    /// How the origin differs: then the same voxels are elsewhere.
    pub fn origin_differs(&self, other: &Self) -> Option<String> {
        let close = all_close(&self.origin, &other.origin, ORIGIN_TOLERANCE_MM);
        (!close).then(|| format!("origin {:?} and {:?} mm (x, y, z)", self.origin, other.origin))
    }

    /// How the direction differs: then one of the two is turned or mirrored.
    pub fn direction_differs(&self, other: &Self) -> Option<String> {
        let close = all_close(self.direction.as_flattened(), other.direction.as_flattened(), DIRECTION_TOLERANCE);
        (!close).then(|| format!("direction {:?} and {:?} (columns: x, y, z axis)", self.direction, other.direction))
    }
}

fn all_close(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance)
}

/// Where an image begins and how its axes run; in which frame, the user says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Position (x, y, z) of the first voxel in mm.
    pub origin: [f64; 3],
    /// One vector for each of the axes x, y and z.
    pub direction: [[f64; 3]; 3],
}

impl Placement {
    /// At zero, along the axes of the frame.
    pub const DEFAULT: Self = Self { origin: [0.0; 3], direction: IDENTITY };
}

/// `None` when the vector has no direction.
fn unit(vector: [f64; 3]) -> Option<[f64; 3]> {
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    (length > 0.0 && length.is_finite()).then(|| vector.map(|value| value / length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_geometry_has_its_spacing_and_differs_from_another() {
        let geometry = Geometry::with_spacing([3.0, 0.5, 0.25]);
        assert_eq!(geometry.spacing(), [3.0, 0.5, 0.25]);
        assert_eq!(geometry.differs_from(&Geometry::with_spacing([3.00001, 0.5, 0.25])), None);
        let words = geometry.differs_from(&Geometry::with_spacing([3.1, 0.5, 0.25])).unwrap();
        assert_eq!(words, "spacing [3.0, 0.5, 0.25] and [3.1, 0.5, 0.25] mm (z, y, x)");
    }

    #[test]
    fn a_negative_step_turns_its_axis_and_nonsense_counts_as_absent() {
        let placement = Placement { origin: [1.0, 2.0, 3.0], direction: IDENTITY };
        let geometry = Geometry::from_itk(3, [0.5, -2.0, 0.0], placement);
        assert_eq!(geometry.spacing(), [1.0, 2.0, 0.5]);
        assert_eq!(geometry.origin(), [-1.0, -2.0, 3.0]);
        assert_eq!(geometry.direction(), [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]);
        assert_eq!(geometry.in_itk().direction[1], [0.0, -1.0, 0.0]);

        let nonsense = Placement { origin: [f64::NAN, 0.0, 0.0], direction: [[0.0; 3]; 3] };
        let geometry = Geometry::from_itk(2, [0.5, f64::NAN, 7.0], nonsense);
        assert_eq!((geometry.spacing(), geometry.in_itk()), ([999.0, 1.0, 0.5], Placement::DEFAULT));
    }
}
