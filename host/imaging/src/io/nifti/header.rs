//! The NIfTI-1 header: checked before anything relies on it. Of its bytes those are kept for writing that say where the volume lies:
//! the others may name a patient (`descrip`, `db_name`, `aux_file`, `intent_name`), and predictions are passed on.

use ::nifti::{Endianness, NiftiHeader, NiftiType};

use crate::io::geometry::{Geometry, Placement};
use crate::io::source::Problem;
use crate::io::voxels::{Number, Scaling, byte_length};

/// Length of a header in bytes.
pub const LENGTH: usize = 348;
/// Where voxels begin in the files written here: after the header and four bytes that say that there are no extensions.
pub const DATA_OFFSET: usize = 352;
/// Longest axis: dimensions are 16-bit signed integers.
pub const LONGEST_AXIS: usize = i16::MAX as usize;
/// Two of ITK's tolerances: how far a matrix may be from a rotation, and from another matrix that is the same (`itkNiftiImageIO.cxx`).
const MATRIX_TOLERANCE: f64 = 1e-4;

/// The library by which nnU-Net reads a file, which its ending decides: `.nii.gz` goes to SimpleITK and `.nii` to nibabel
/// (`reader_writer_registry.py`). The two differ in scaling, in units and in which of two orientations they believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    SimpleItk,
    Nibabel,
}

const NUMBERS: [(Number, NiftiType); 10] = [
    (Number::U8, NiftiType::Uint8),
    (Number::I8, NiftiType::Int8),
    (Number::U16, NiftiType::Uint16),
    (Number::I16, NiftiType::Int16),
    (Number::U32, NiftiType::Uint32),
    (Number::I32, NiftiType::Int32),
    (Number::U64, NiftiType::Uint64),
    (Number::I64, NiftiType::Int64),
    (Number::F32, NiftiType::Float32),
    (Number::F64, NiftiType::Float64),
];

/// Where fields that change on writing lie in the header (nifti1.h).
mod offset {
    pub const SIZEOF_HDR: usize = 0;
    pub const DIM: usize = 40;
    pub const DATATYPE: usize = 70;
    pub const BITPIX: usize = 72;
    pub const PIXDIM: usize = 76;
    pub const VOX_OFFSET: usize = 108;
    pub const SCL_SLOPE: usize = 112;
    pub const SCL_INTER: usize = 116;
    pub const XYZT_UNITS: usize = 123;
    pub const QFORM_CODE: usize = 252;
    pub const SFORM_CODE: usize = 254;
    pub const SROW: usize = 280;
    pub const SROW_END: usize = 328;
    pub const MAGIC: usize = 344;
}

/// A header that describes voxels which can be read.
#[derive(Clone, Debug)]
pub struct Header {
    /// What says where the volume lies; zero elsewhere.
    bytes: [u8; LENGTH],
    fields: NiftiHeader,
    number: Number,
}

impl Header {
    /// Checks the first [`LENGTH`] bytes of a file.
    pub fn parse(bytes: [u8; LENGTH]) -> Result<Self, Problem> {
        if [540i32.to_le_bytes(), 540i32.to_be_bytes()].contains(&first_four(&bytes)) {
            return Err(("is NIfTI-2".to_owned(), "only NIfTI-1 can be read; convert it"));
        }
        let not_nifti =
            || ("is not a NIfTI-1 file".to_owned(), "its header lacks the length 348 or the mark 'n+1'; was it renamed or damaged?");
        let fields = NiftiHeader::from_reader(&bytes[..]).map_err(|_| not_nifti())?;
        if fields.sizeof_hdr != LENGTH as i32 {
            return Err(not_nifti());
        }
        if bytes[offset::MAGIC..] != *b"n+1\0" {
            return Err(("is the header of a .hdr/.img pair".to_owned(), "join the two into one .nii file"));
        }
        let rank = usize::from(fields.dim[0]);
        if !(1..=7).contains(&rank) || !fields.dim[1..=rank].iter().all(|&size| (1..=LONGEST_AXIS).contains(&usize::from(size))) {
            return Err((
                format!("claims the dimensions {:?}", fields.dim),
                "expected their number, 1 to 7, and then that many sizes of 1 to 32767; the header is damaged",
            ));
        }
        if !(fields.vox_offset == 0.0 || fields.vox_offset >= LENGTH as f32) {
            return Err((
                format!("claims that its voxels begin at byte {}", fields.vox_offset),
                "expected 352 or more; the header is damaged",
            ));
        }
        let number = fields.data_type().ok().and_then(number).ok_or_else(|| {
            (
                format!("has voxels of NIfTI data type {}", fields.datatype),
                "only integers and floats of 8 to 64 bits can be read; convert complex numbers and colours to channels",
            )
        })?;
        Ok(Self { bytes: geometry_alone(&bytes), fields, number })
    }

    /// A header with the spacing and orientation of `geometry`.
    pub fn from_geometry(geometry: &Geometry) -> Self {
        const MILLIMETRE: u8 = 2;
        let mut bytes = [0; LENGTH];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(offset::SIZEOF_HDR, &(LENGTH as i32).to_le_bytes());
        put(offset::PIXDIM, &1f32.to_le_bytes());
        let ([z, y, x], directions, origin) = (geometry.spacing(), geometry.direction(), geometry.origin());
        let spacing = [x, y, if geometry.is_planar() { 1.0 } else { z }];
        for axis in 0..3 {
            put(offset::PIXDIM + 4 * (axis + 1), &(spacing[axis] as f32).to_le_bytes());
            for (row, part) in directions[axis].into_iter().enumerate() {
                put(offset::SROW + 16 * row + 4 * axis, &((part * spacing[axis]) as f32).to_le_bytes());
            }
            put(offset::SROW + 16 * axis + 12, &(origin[axis] as f32).to_le_bytes());
        }
        put(offset::XYZT_UNITS, &[MILLIMETRE]);
        put(offset::SFORM_CODE, &1i16.to_le_bytes());
        let rank = if geometry.is_planar() { 2 } else { 3 };
        put(offset::DIM, &[rank, 1, 1, 1, 1, 1, 1, 1].map(u16::to_le_bytes).concat());
        put(offset::DATATYPE, &(NiftiType::Uint8 as i16).to_le_bytes());
        put(offset::MAGIC, b"n+1\0");
        Self::parse(bytes).expect("this header is valid")
    }

    /// The type of the voxels.
    pub fn number(&self) -> Number {
        self.number
    }

    /// Whether numbers have their most significant byte first, in the header and in the voxels.
    pub fn is_big_endian(&self) -> bool {
        self.fields.endianness == Endianness::Big
    }

    /// (C, Z, Y, X); dimensions beyond the third are channels.
    pub fn shape(&self) -> [usize; 4] {
        let rank = usize::from(self.fields.dim[0]);
        let size = |axis: usize| if axis <= rank { usize::from(self.fields.dim[axis]) } else { 1 };
        [(4..=rank).map(size).product(), size(3), size(2), size(1)]
    }

    /// Where the voxels begin in the file, in bytes.
    pub fn data_offset(&self) -> u64 {
        if self.fields.vox_offset == 0.0 { DATA_OFFSET as u64 } else { self.fields.vox_offset as u64 }
    }

    /// How long the voxels are, in bytes. `None` when no computer could hold them.
    pub fn data_length(&self) -> Option<usize> {
        let rank = usize::from(self.fields.dim[0]);
        byte_length(self.fields.dim[1..=rank].iter().map(|&size| usize::from(size)), self.number.size())
    }

    /// What makes real values of stored ones.
    pub fn scaling(&self, library: Library) -> Scaling {
        let finite = |value: f32| if value.is_finite() { f64::from(value) } else { 0.0 };
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
        let unit = match (library, self.fields.xyzt_units & 0b111) {
            (Library::SimpleItk, 1) => 1e3,
            (Library::SimpleItk, 3) => 1e-3,
            _ => 1.0,
        };
        let spacing = self.steps().map(|step| if library == Library::Nibabel { step.abs() } else { step } * unit);
        let rank = usize::from(self.fields.dim[0]);
        let geometry = match self.placement(library) {
            Some(Placement { origin, direction }) => {
                Geometry::from_nifti_frame(rank, spacing, Placement { origin: origin.map(|value| value * unit), direction })
            }
            // ITK takes such a volume to lie along the axes of its own frame.
            None => Geometry::from_itk(rank, spacing, Placement::DEFAULT),
        };
        geometry.with_header(self.clone())
    }

    /// Steps from voxel to voxel along x, y and z. Zero and what is not finite stand for 1.
    fn steps(&self) -> [f64; 3] {
        [1, 2, 3].map(|axis| f64::from(self.fields.pixdim[axis])).map(|step| if step != 0.0 && step.is_finite() { step } else { 1.0 })
    }

    /// Origin and axes by the sform or the qform, where they are there.
    fn placement(&self, library: Library) -> Option<Placement> {
        let finite =
            |placement: &Placement| placement.origin.iter().chain(placement.direction.as_flattened()).all(|value| value.is_finite());
        let sform = Some(self.sform()).filter(|sform| self.fields.sform_code > 0 && finite(sform));
        let qform = Some(self.qform()).filter(|qform| self.fields.qform_code > 0 && finite(qform));
        let (Some(s), Some(q)) = (sform, qform) else { return sform.or(qform) };
        const SCANNER: i16 = 1;
        let believed = library == Library::Nibabel || is_rotation(&s) && (self.fields.sform_code == SCANNER || same(&s, &q));
        Some(if believed { s } else { q })
    }

    fn sform(&self) -> Placement {
        let rows = [self.fields.srow_x, self.fields.srow_y, self.fields.srow_z].map(|row| row.map(f64::from));
        Placement { origin: rows.map(|row| row[3]), direction: [0, 1, 2].map(|axis| rows.map(|row| row[axis])) }
    }

    fn qform(&self) -> Placement {
        let fields = &self.fields;
        let handedness = if fields.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
        let [dx, dy, dz] = self.steps().map(f64::abs);
        let [x, y, z] = rotation([fields.quatern_b, fields.quatern_c, fields.quatern_d].map(f64::from));
        Placement {
            origin: [fields.quatern_x, fields.quatern_y, fields.quatern_z].map(f64::from),
            direction: [x.map(|value| value * dx), y.map(|value| value * dy), z.map(|value| value * dz * handedness)],
        }
    }

    /// The geometry of this header, in its own byte order, with what describes a volume of `shape` (C, Z, Y, X) whose voxels of type `number` follow
    /// after [`DATA_OFFSET`] bytes; with the four bytes that fill up to there. No axis may exceed [`LONGEST_AXIS`].
    pub fn for_volume(&self, shape: [usize; 4], number: Number) -> [u8; DATA_OFFSET] {
        let [channels, depth, height, width] = shape.map(|size| size as u16);
        let rank = match (channels, depth) {
            (1, 1) if self.fields.dim[0] < 3 => 2,
            (1, _) => 3,
            _ => 4,
        };
        let mut bytes = [0; DATA_OFFSET];
        bytes[..LENGTH].copy_from_slice(&self.bytes);
        let mut put = |at: usize, value: &[u8]| {
            bytes[at..at + value.len()].copy_from_slice(value);
            if self.is_big_endian() {
                bytes[at..at + value.len()].reverse();
            }
        };
        for (axis, size) in [rank, width, height, depth, channels, 1, 1, 1].into_iter().enumerate() {
            put(offset::DIM + 2 * axis, &size.to_le_bytes());
        }
        put(offset::DATATYPE, &(nifti_type(number) as i16).to_le_bytes());
        put(offset::BITPIX, &(8 * number.size() as i16).to_le_bytes());
        put(offset::VOX_OFFSET, &(DATA_OFFSET as f32).to_le_bytes());
        put(offset::SCL_SLOPE, &1f32.to_le_bytes());
        put(offset::SCL_INTER, &0f32.to_le_bytes());
        bytes
    }
}

/// Header length and mark, spacing, spatial unit, codes, quaternion and matrix of a header; zero elsewhere.
fn geometry_alone(bytes: &[u8; LENGTH]) -> [u8; LENGTH] {
    let mut kept = [0; LENGTH];
    let spacing = offset::PIXDIM..offset::PIXDIM + 16;
    for range in [offset::SIZEOF_HDR..4, spacing, offset::QFORM_CODE..offset::SROW_END, offset::MAGIC..LENGTH] {
        kept[range.clone()].copy_from_slice(&bytes[range]);
    }
    kept[offset::XYZT_UNITS] = bytes[offset::XYZT_UNITS] & 0b111;
    kept
}

fn first_four(bytes: &[u8; LENGTH]) -> [u8; 4] {
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

fn number(kind: NiftiType) -> Option<Number> {
    NUMBERS.iter().find(|(_, other)| *other == kind).map(|(number, _)| *number)
}

fn nifti_type(number: Number) -> NiftiType {
    NUMBERS.iter().find(|(other, _)| *other == number).map(|(_, kind)| *kind).expect("every number has a NIfTI type")
}

/// Whether the axes are at right angles.
fn is_rotation(placement: &Placement) -> bool {
    let [x, y, z] = placement.direction;
    let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>();
    [(x, y), (y, z), (z, x)].iter().all(|&(a, b)| dot(a, b).abs() <= MATRIX_TOLERANCE * (dot(a, a) * dot(b, b)).sqrt())
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
        let half = std::f32::consts::FRAC_1_SQRT_2;
        let mut header = Header::from_geometry(&Geometry::with_spacing([3.0, 2.0, 1.0]));
        header.fields.quatern_d = half;
        header.fields.pixdim[0] = -1.0;
        header.fields.quatern_x = 7.0;
        (header.fields.sform_code, header.fields.qform_code) = (0, 1);
        let by_qform = header.geometry(Library::SimpleItk);
        assert_eq!(by_qform.origin(), [7.0, 0.0, 0.0]);

        header.fields.sform_code = 1;
        header.fields.srow_x = [0.0, -2.0, 0.0, 7.0];
        header.fields.srow_y = [1.0, 0.0, 0.0, 0.0];
        header.fields.srow_z = [0.0, 0.0, -3.0, 0.0];
        let by_sform = header.geometry(Library::SimpleItk);
        assert_eq!(by_qform.differs_from(&by_sform), None);
    }

    #[test]
    fn a_header_holds_the_geometry_it_is_made_from() {
        let placement = Placement { origin: [1.0, -2.0, 0.5], direction: [[0.6, 0.8, 0.0], [0.8, -0.6, 0.0], [0.0, 0.0, -1.0]] };
        for rank in [2, 3] {
            let geometry = Geometry::from_itk(rank, [0.5, 0.75, 2.5], placement);
            let copy = Header::from_geometry(&geometry).geometry(Library::SimpleItk);
            assert_eq!(copy.differs_from(&geometry), None);
            assert_eq!(copy.is_planar(), rank == 2);
        }
    }
}
