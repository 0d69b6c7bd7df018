//! A NIfTI header, checked before anything relies on it, and what its fields mean to each of the two libraries by which nnU-Net reads it.

use super::fields::{Fields, LENGTH_1, Version};
use crate::io::geometry::{Geometry, Placement};
use crate::io::source::Problem;
use crate::io::voxels::{Number, Scaling, byte_length};

/// Longest axis of a NIfTI-1 file: its dimensions are 16-bit signed integers.
const LONGEST_AXIS_1: usize = i16::MAX as usize;
/// Longest axis that is written: what any other program still has an index for.
pub const LONGEST_AXIS: usize = i32::MAX as usize;
/// Where voxels begin in a file that does not say it: after the header and four bytes that say that there are no extensions.
const USUAL_OFFSET: u64 = LENGTH_1 as u64 + 4;
/// Two of ITK's tolerances: how far a matrix may be from a rotation, and from another matrix that is the same (`itkNiftiImageIO.cxx`).
const MATRIX_TOLERANCE: f64 = 1e-4;

/// The libraries by which nnU-Net reads NIfTI. They differ in what they open, in scaling, in units and in which of two orientations they
/// believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// ITK, with nifti_clib under it.
    SimpleItk,
    Nibabel,
}

/// Numbers and NIfTI's codes for them.
const NUMBERS: [(Number, i16); 10] = [
    (Number::U8, 2),
    (Number::I16, 4),
    (Number::I32, 8),
    (Number::F32, 16),
    (Number::F64, 64),
    (Number::I8, 256),
    (Number::U16, 512),
    (Number::U32, 768),
    (Number::I64, 1024),
    (Number::U64, 1280),
];

/// A header that describes voxels which can be read.
#[derive(Clone, Debug)]
pub struct Header {
    version: Version,
    fields: Fields,
    /// Sizes along x, y, z and beyond, all of at least 1.
    sizes: Vec<usize>,
    number: Number,
}

impl Header {
    /// Checks a header of `version`, of which `bytes` has all. What nifti_clib's reader forgives is forgiven (`nifti_convert_nhdr2nim`): sizes below
    /// 1 beyond x, and a mark that says that the voxels lie in another file.
    pub fn parse(version: Version, bytes: &[u8]) -> Result<Self, Problem> {
        let fields = Fields::parse(version, bytes)?;
        let rank = usize::try_from(fields.dim[0]).ok().filter(|rank| (1..=7).contains(rank) && fields.dim[1] > 0);
        let Some(rank) = rank else {
            let advice = "expected their number, 1 to 7, and then that many sizes, the first of at least 1; the header is damaged";
            return Err((format!("claims the dimensions {:?}", fields.dim), advice));
        };
        let sizes = fields.dim[1..=rank].iter().map(|size| usize::try_from(*size).unwrap_or(0).max(1)).collect();
        let number = NUMBERS.iter().find(|(_, code)| *code == fields.datatype).map(|(number, _)| *number).ok_or_else(|| {
            let advice = "only integers and floats of 8 to 64 bits can be read; convert complex numbers and colours to channels";
            (format!("has voxels of NIfTI data type {}", fields.datatype), advice)
        })?;
        Ok(Self { version, fields, sizes, number })
    }

    /// A header with the spacing and orientation of `geometry`.
    pub fn from_geometry(geometry: &Geometry) -> Self {
        const MILLIMETRE: u8 = 2;
        let ([z, y, x], directions, origin) = (geometry.spacing(), geometry.direction(), geometry.origin());
        let spacing = [x, y, if geometry.is_planar() { 1.0 } else { z }];
        let rank = if geometry.is_planar() { 2 } else { 3 };
        let fields = Fields {
            big_endian: false,
            is_marked: true,
            dim: [rank, 1, 1, 1, 1, 1, 1, 1],
            datatype: 2,
            pixdim: [1.0, spacing[0], spacing[1], spacing[2]],
            vox_offset: 0.0,
            scl_slope: 1.0,
            scl_inter: 0.0,
            unit: MILLIMETRE,
            qform_code: 0,
            sform_code: 1,
            quatern: [0.0; 3],
            qoffset: [0.0; 3],
            srow: [0, 1, 2].map(|row| {
                let [x, y, z] = [0, 1, 2].map(|axis| directions[axis][row] * spacing[axis]);
                [x, y, z, origin[row]]
            }),
        };
        Self { version: Version::One, fields, sizes: vec![1; rank as usize], number: Number::U8 }
    }

    /// Why `library` does not open such a file, if it does not. nnU-Net takes three dimensions alone from nibabel; here others are read, as
    /// they always were: two are one slice, and further ones are channels.
    pub fn refused_by(&self, library: Library) -> Option<String> {
        match library {
            Library::SimpleItk if self.version == Version::Two => Some("is NIfTI-2".to_owned()),
            Library::SimpleItk if self.placement(library).is_some_and(|placement| !is_rotation(&placement)) => {
                Some("has a matrix (sform) whose axes are not at right angles, and no quaternion (qform) beside it".to_owned())
            }
            Library::Nibabel if !self.fields.is_marked => Some("lacks the mark of NIfTI, 'n+1'".to_owned()),
            Library::Nibabel if self.fields.dim[1..=self.sizes.len()].iter().any(|size| *size < 1) => {
                Some(format!("claims the sizes {:?}", &self.fields.dim[1..=self.sizes.len()]))
            }
            _ => None,
        }
    }

    /// The type of the voxels.
    pub fn number(&self) -> Number {
        self.number
    }

    /// Whether numbers have their most significant byte first, in the header and in the voxels.
    pub fn is_big_endian(&self) -> bool {
        self.fields.big_endian
    }

    /// (C, Z, Y, X); dimensions beyond the third are channels.
    pub fn shape(&self) -> [usize; 4] {
        let size = |axis: usize| self.sizes.get(axis).copied().unwrap_or(1);
        // A product beyond any memory is refused by `data_length`.
        let channels = self.sizes.iter().skip(3).fold(1, |product: usize, size| product.saturating_mul(*size));
        [channels, size(2), size(1), size(0)]
    }

    /// Where the voxels begin in the file, in bytes. What cannot be is taken for what is usual where it is 0, as writers leave it, and for
    /// the end of the header elsewhere, as nifti_clib has it.
    pub fn data_offset(&self) -> u64 {
        match self.fields.vox_offset {
            0.0 if self.version == Version::One => USUAL_OFFSET,
            offset => (offset as u64).max(self.version.length() as u64),
        }
    }

    /// How long the voxels are, in bytes. `None` when no computer could hold them.
    pub fn data_length(&self) -> Option<usize> {
        byte_length(self.sizes.iter().copied(), self.number.size())
    }

    /// What makes real values of stored ones.
    pub fn scaling(&self, library: Library) -> Scaling {
        let finite = |value: f64| if value.is_finite() { value } else { 0.0 };
        let (slope, intercept) = (finite(self.fields.scl_slope), finite(self.fields.scl_inter));
        let (slope, intercept) = match library {
            Library::SimpleItk if slope.abs() < f64::EPSILON => (1.0, intercept),
            // Zero means that there is no scaling.
            Library::Nibabel if slope == 0.0 => (1.0, 0.0),
            _ => (slope, intercept),
        };
        match library {
            _ if (slope, intercept) == (1.0, 0.0) => Scaling::None,
            Library::SimpleItk => Scaling::LinearOfF32(slope, intercept),
            Library::Nibabel => Scaling::Linear(slope, intercept),
        }
    }

    /// Where the volume lies.
    pub fn geometry(&self, library: Library) -> Geometry {
        let unit = match (library, self.fields.unit) {
            (Library::SimpleItk, 1) => 1e3,
            (Library::SimpleItk, 3) => 1e-3,
            _ => 1.0,
        };
        let spacing = self.steps().map(|step| if library == Library::Nibabel { step.abs() } else { step } * unit);
        let rank = self.sizes.len();
        let geometry = match (self.placement(library), library) {
            (Some(Placement { origin, direction }), _) => {
                Geometry::from_nifti_frame(rank, spacing, Placement { origin: origin.map(|value| value * unit), direction })
            }
            // ITK takes such a volume to lie along the axes of its own frame, nibabel to lie in the middle of the world with x leading left.
            (None, Library::SimpleItk) => Geometry::from_itk(rank, spacing, Placement::DEFAULT),
            (None, Library::Nibabel) => {
                let half = [0, 1, 2].map(|axis| self.sizes.get(axis).map_or(0.0, |size| (size - 1) as f64 / 2.0) * spacing[axis]);
                let direction = [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
                Geometry::from_nifti_frame(rank, spacing, Placement { origin: [half[0], -half[1], -half[2]], direction })
            }
        };
        geometry.with_header(self.clone())
    }

    /// Steps along x, y and z by the matrix that nibabel believes, if all of them can be sizes.
    pub fn steps_of_matrix(&self) -> Option<[f64; 3]> {
        let columns = self.placement(Library::Nibabel)?.direction;
        let steps = columns.map(|column| column.iter().map(|part| part * part).sum::<f64>().sqrt());
        steps.iter().all(|step| *step > 0.0 && step.is_finite()).then_some(steps)
    }

    /// Steps from voxel to voxel along x, y and z. Zero and what is not finite stand for 1.
    fn steps(&self) -> [f64; 3] {
        [1, 2, 3].map(|axis| self.fields.pixdim[axis]).map(|step| if step != 0.0 && step.is_finite() { step } else { 1.0 })
    }

    /// Origin and axes by the sform or the qform, where they are there.
    fn placement(&self, library: Library) -> Option<Placement> {
        let finite =
            |placement: &Placement| placement.origin.iter().chain(placement.direction.as_flattened()).all(|value| value.is_finite());
        let known = |code: i32| match library {
            Library::SimpleItk => code > 0 && self.fields.is_marked,
            // nibabel knows the codes up to that of a template, and takes others for 0.
            Library::Nibabel => (1..=5).contains(&code),
        };
        let sform = Some(self.sform()).filter(|sform| known(self.fields.sform_code) && finite(sform));
        let qform = Some(self.qform()).filter(|qform| known(self.fields.qform_code) && finite(qform));
        let (Some(s), Some(q)) = (sform, qform) else { return sform.or(qform) };
        const SCANNER: i32 = 1;
        let believed = library == Library::Nibabel || is_rotation(&s) && (self.fields.sform_code == SCANNER || same(&s, &q));
        Some(if believed { s } else { q })
    }

    fn sform(&self) -> Placement {
        let rows = self.fields.srow;
        Placement { origin: rows.map(|row| row[3]), direction: [0, 1, 2].map(|axis| rows.map(|row| row[axis])) }
    }

    fn qform(&self) -> Placement {
        let fields = &self.fields;
        let handedness = if fields.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
        let [dx, dy, dz] = self.steps().map(f64::abs);
        let [x, y, z] = rotation(fields.quatern);
        Placement {
            origin: fields.qoffset,
            direction: [x.map(|value| value * dx), y.map(|value| value * dy), z.map(|value| value * dz * handedness)],
        }
    }

    /// The geometry of this header, in its own byte order, with what describes a volume of `shape` (C, Z, Y, X) whose voxels of type `number` follow.
    /// NIfTI-2 only where an axis is too long for NIfTI-1, as nnU-Net writes. No axis may exceed [`LONGEST_AXIS`].
    pub fn for_volume(&self, shape: [usize; 4], number: Number) -> Vec<u8> {
        let version = if shape.iter().any(|size| *size > LONGEST_AXIS_1) { Version::Two } else { Version::One };
        let [channels, depth, height, width] = shape.map(|size| size as i64);
        let rank = match (channels, depth) {
            (1, 1) if self.sizes.len() < 3 => 2,
            (1, _) => 3,
            _ => 4,
        };
        let fields = Fields {
            dim: [rank, width, height, depth, channels, 1, 1, 1],
            datatype: code_of(number),
            vox_offset: (version.length() + 4) as f64,
            scl_slope: 1.0,
            scl_inter: 0.0,
            // Without a mark, what lies there is something else.
            qform_code: if self.fields.is_marked { self.fields.qform_code } else { 0 },
            sform_code: if self.fields.is_marked { self.fields.sform_code } else { 0 },
            ..self.fields.clone()
        };
        fields.encode(version, 8 * number.size() as i16)
    }
}

fn code_of(number: Number) -> i16 {
    NUMBERS.iter().find(|(other, _)| *other == number).map(|(_, code)| *code).expect("every number has a NIfTI type")
}

/// Whether the axes have a length and are at right angles.
fn is_rotation(placement: &Placement) -> bool {
    let [x, y, z] = placement.direction;
    let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>();
    let are_axes = placement.direction.into_iter().all(|axis| dot(axis, axis) > 0.0);
    are_axes && [(x, y), (y, z), (z, x)].iter().all(|&(a, b)| dot(a, b).abs() <= MATRIX_TOLERANCE * (dot(a, a) * dot(b, b)).sqrt())
}

fn same(a: &Placement, b: &Placement) -> bool {
    let values = |placement: &Placement| [placement.origin.as_slice(), placement.direction.as_flattened()].concat();
    values(a).iter().zip(values(b)).all(|(a, b)| (a - b).abs() <= MATRIX_TOLERANCE)
}

/// Columns of the rotation matrix of a unit quaternion given without its first, positive component (nifti1.h, method 2).
fn rotation([b, c, d]: [f64; 3]) -> [[f64; 3]; 3] {
    let square = b * b + c * c + d * d;
    // Half a turn or, by rounding, more than that.
    let ([b, c, d], a) = if 1.0 - square < 1e-7 { ([b, c, d].map(|v| v / square.sqrt()), 0.0) } else { ([b, c, d], (1.0 - square).sqrt()) };
    [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c + a * d), 2.0 * (b * d - a * c)],
        [2.0 * (b * c - a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d + a * b)],
        [2.0 * (b * d + a * c), 2.0 * (c * d - a * b), a * a + d * d - b * b - c * c],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qform_and_sform_agree_on_a_turned_volume() {
        // A quarter turn about z with y flipped by qfac: what a scanner's oblique axial image may look like.
        let mut header = Header::from_geometry(&Geometry::with_spacing([3.0, 2.0, 1.0]));
        header.fields.quatern[2] = std::f64::consts::FRAC_1_SQRT_2;
        header.fields.pixdim[0] = -1.0;
        header.fields.qoffset[0] = 7.0;
        (header.fields.sform_code, header.fields.qform_code) = (0, 1);
        let by_qform = header.geometry(Library::SimpleItk);
        assert_eq!(by_qform.origin(), [7.0, 0.0, 0.0]);

        header.fields.sform_code = 1;
        header.fields.srow = [[0.0, -2.0, 0.0, 7.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -3.0, 0.0]];
        let by_sform = header.geometry(Library::SimpleItk);
        assert_eq!(by_qform.differs_from(&by_sform), None);
    }

    #[test]
    fn a_header_holds_the_geometry_it_is_made_from() {
        let placement = Placement { origin: [1.0, -2.0, 0.5], direction: [[0.6, 0.8, 0.0], [0.8, -0.6, 0.0], [0.0, 0.0, -1.0]] };
        for rank in [2, 3] {
            let geometry = Geometry::from_itk(rank, [0.5, 0.75, 2.5], placement);
            let bytes = Header::from_geometry(&geometry).for_volume([1, 1, 4, 3], Number::U8);
            let copy = Header::parse(Version::One, &bytes).unwrap().geometry(Library::SimpleItk);
            assert_eq!(copy.differs_from(&geometry), None);
            assert_eq!(copy.is_planar(), rank == 2);
        }
    }
}
