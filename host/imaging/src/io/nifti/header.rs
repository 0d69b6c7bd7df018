//! The NIfTI-1 header: checked before anything relies on it, kept byte for byte for writing.

use ::nifti::{Endianness, NiftiHeader, NiftiType};

/// Length of a header in bytes.
pub const LENGTH: usize = 348;
/// Where voxels begin in the files written here: after the header and four bytes that say that there are no extensions.
pub const DATA_OFFSET: usize = 352;
/// Longest axis: dimensions are 16-bit signed integers.
pub const LONGEST_AXIS: usize = i16::MAX as usize;
/// nnU-Net's factor between the slice "distance" of a file without slices and its largest spacing (`simpleitk_reader_writer.py`).
const SPACING_FACTOR_2D: f64 = 999.0;

const NUMBERS: [NiftiType; 10] = [
    NiftiType::Uint8,
    NiftiType::Int8,
    NiftiType::Uint16,
    NiftiType::Int16,
    NiftiType::Uint32,
    NiftiType::Int32,
    NiftiType::Uint64,
    NiftiType::Int64,
    NiftiType::Float32,
    NiftiType::Float64,
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
    pub const SFORM_CODE: usize = 254;
    pub const SROW: usize = 280;
    pub const MAGIC: usize = 344;
}

/// What is wrong with a header: what was found, and what was expected or helps.
pub type Problem = (String, &'static str);

/// A header that describes voxels which can be read.
#[derive(Clone, Debug)]
pub struct Header {
    bytes: [u8; LENGTH],
    fields: NiftiHeader,
    kind: NiftiType,
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
        let kind = fields.data_type().ok().filter(|kind| NUMBERS.contains(kind)).ok_or_else(|| {
            (
                format!("has voxels of NIfTI data type {}", fields.datatype),
                "only integers and floats of 8 to 64 bits can be read; convert complex numbers and colours to channels",
            )
        })?;
        Ok(Self { bytes, fields, kind })
    }

    /// A header for voxels of the given size in mm, (z, y, x), aligned with the axes of space.
    pub fn with_spacing(spacing: [f64; 3]) -> Self {
        const MILLIMETRE: u8 = 2;
        let mut bytes = [0; LENGTH];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(offset::SIZEOF_HDR, &(LENGTH as i32).to_le_bytes());
        put(offset::PIXDIM, &1f32.to_le_bytes());
        for (axis, spacing) in spacing.into_iter().rev().enumerate() {
            put(offset::PIXDIM + 4 * (axis + 1), &(spacing as f32).to_le_bytes());
            put(offset::SROW + 20 * axis, &(spacing as f32).to_le_bytes());
        }
        put(offset::XYZT_UNITS, &[MILLIMETRE]);
        put(offset::SFORM_CODE, &1i16.to_le_bytes());
        put(offset::DIM, &[3u16, 1, 1, 1, 1, 1, 1, 1].map(u16::to_le_bytes).concat());
        put(offset::DATATYPE, &(NiftiType::Uint8 as i16).to_le_bytes());
        put(offset::MAGIC, b"n+1\0");
        Self::parse(bytes).expect("this header is valid")
    }

    /// The type of the voxels, one of [`NUMBERS`].
    pub fn kind(&self) -> NiftiType {
        self.kind
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
        self.fields.dim[1..=rank].iter().try_fold(self.kind.size_of(), |length, &size| length.checked_mul(usize::from(size)))
    }

    /// Slope and intercept that make real values of stored ones.
    pub fn scaling(&self) -> (f64, f64) {
        let (slope, intercept) = (f64::from(self.fields.scl_slope), f64::from(self.fields.scl_inter));
        // Zero means that there is no scaling; some programs leave NaN behind.
        if slope == 0.0 || !slope.is_finite() { (1.0, 0.0) } else { (slope, if intercept.is_finite() { intercept } else { 0.0 }) }
    }

    /// Size of a voxel in mm, (z, y, x).
    pub fn spacing(&self) -> [f64; 3] {
        let [x, y, z] = self.positive_pixdim();
        if self.fields.dim[0] < 3 { [x.max(y) * SPACING_FACTOR_2D, y, x] } else { [z, y, x] }
    }

    /// Position of the first voxel in mm, and the unit vectors along which x, y and z grow. In NIfTI's frame: to the right, to the
    /// front, up.
    pub fn orientation(&self) -> ([f64; 3], [[f64; 3]; 3]) {
        let fields = &self.fields;
        if fields.sform_code > 0 {
            let rows = [fields.srow_x, fields.srow_y, fields.srow_z].map(|row| row.map(|value| f64::from(value) * self.unit_in_mm()));
            (rows.map(|row| row[3]), [0, 1, 2].map(|axis| unit(rows.map(|row| row[axis]))))
        } else if fields.qform_code > 0 {
            let origin = [fields.quatern_x, fields.quatern_y, fields.quatern_z].map(|value| f64::from(value) * self.unit_in_mm());
            let handedness = if fields.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
            let [x, y, z] = rotation([fields.quatern_b, fields.quatern_c, fields.quatern_d].map(f64::from));
            (origin, [x, y, z.map(|value| value * handedness)])
        } else {
            ([0.0; 3], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        }
    }

    /// This header, in its own byte order, changed to describe a volume of `shape` (C, Z, Y, X) whose voxels of type `kind` follow
    /// after [`DATA_OFFSET`] bytes; with the four bytes that fill up to there. No axis may exceed [`LONGEST_AXIS`].
    pub fn for_volume(&self, shape: [usize; 4], kind: NiftiType) -> [u8; DATA_OFFSET] {
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
        put(offset::DATATYPE, &(kind as i16).to_le_bytes());
        put(offset::BITPIX, &(8 * kind.size_of() as i16).to_le_bytes());
        put(offset::VOX_OFFSET, &(DATA_OFFSET as f32).to_le_bytes());
        put(offset::SCL_SLOPE, &1f32.to_le_bytes());
        put(offset::SCL_INTER, &0f32.to_le_bytes());
        bytes
    }

    /// Voxel size along x, y and z in mm. Zero and NaN stand for 1, as in the reference library.
    fn positive_pixdim(&self) -> [f64; 3] {
        [1, 2, 3].map(|axis| {
            let size = f64::from(self.fields.pixdim[axis].abs());
            (if size > 0.0 && size.is_finite() { size } else { 1.0 }) * self.unit_in_mm()
        })
    }

    fn unit_in_mm(&self) -> f64 {
        match self.fields.xyzt_units & 0b111 {
            1 => 1e3,
            3 => 1e-3,
            _ => 1.0,
        }
    }
}

fn first_four(bytes: &[u8; LENGTH]) -> [u8; 4] {
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

fn unit(vector: [f64; 3]) -> [f64; 3] {
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    if length > 0.0 { vector.map(|value| value / length) } else { vector }
}

/// Columns of the rotation matrix of a unit quaternion given without its first, positive component (nifti1.h, method 2).
fn rotation([b, c, d]: [f64; 3]) -> [[f64; 3]; 3] {
    let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
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
        let mut header = Header::with_spacing([3.0, 2.0, 1.0]);
        header.fields.quatern_d = half;
        header.fields.pixdim[0] = -1.0;
        header.fields.quatern_x = 7.0;
        (header.fields.sform_code, header.fields.qform_code) = (0, 1);
        let (origin, direction) = header.orientation();
        assert_eq!(origin, [7.0, 0.0, 0.0]);

        header.fields.sform_code = 1;
        header.fields.srow_x = [0.0, -2.0, 0.0, 7.0];
        header.fields.srow_y = [1.0, 0.0, 0.0, 0.0];
        header.fields.srow_z = [0.0, 0.0, -3.0, 0.0];
        let (origin_s, direction_s) = header.orientation();
        assert_eq!(origin, origin_s);
        for (a, b) in direction.as_flattened().iter().zip(direction_s.as_flattened()) {
            assert!((a - b).abs() < 1e-6, "{direction:?} {direction_s:?}");
        }
    }

    #[test]
    fn units_are_brought_to_mm_and_missing_sizes_to_1() {
        let mut header = Header::with_spacing([3.0, 2.0, 1.0]);
        header.fields.xyzt_units = 3;
        header.fields.pixdim[3] = 0.0;
        assert_eq!(header.spacing(), [1e-3, 2e-3, 1e-3]);
        header.fields.dim[0] = 2;
        header.fields.xyzt_units = 2;
        assert_eq!(header.spacing(), [1998.0, 2.0, 1.0]);
    }
}
