//! The fields of a NIfTI header that matter here, and where they lie in the bytes of either version (nifti1.h, nifti2.h).
//!
//! Fields that may name a patient (`descrip`, `db_name`, `aux_file`, `intent_name`) are never read, so nothing that is written has them:
//! predictions are passed on.

use crate::io::source::Problem;

/// Bytes of a NIfTI-1 header.
pub const LENGTH_1: usize = 348;
/// Bytes of a NIfTI-2 header.
pub const LENGTH_2: usize = 540;

/// Which of the two versions a header is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}

impl Version {
    /// By the first four bytes of a file, which are the header's length.
    pub fn of(first: [u8; 4]) -> Self {
        let length = LENGTH_2 as i32;
        if [length.to_le_bytes(), length.to_be_bytes()].contains(&first) { Self::Two } else { Self::One }
    }

    /// Bytes of the header.
    pub fn length(self) -> usize {
        match self {
            Self::One => LENGTH_1,
            Self::Two => LENGTH_2,
        }
    }
}

/// What a header says. The numbers of both versions fit into these.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// Whether numbers have their most significant byte first, in the header and in the voxels.
    pub big_endian: bool,
    /// Whether the header has the mark of NIfTI. Without one it is taken for its ancestor Analyze, whose orientation nobody knows.
    pub is_marked: bool,
    /// The number of dimensions, and the size of each.
    pub dim: [i64; 8],
    pub datatype: i16,
    /// The handedness of the quaternion (`qfac`), then the steps along x, y and z.
    pub pixdim: [f64; 4],
    /// Where the voxels begin in the file, in bytes.
    pub vox_offset: f64,
    pub scl_slope: f64,
    pub scl_inter: f64,
    /// Unit of space. That of time is left out.
    pub unit: u8,
    pub qform_code: i32,
    pub sform_code: i32,
    /// b, c and d.
    pub quatern: [f64; 3],
    pub qoffset: [f64; 3],
    /// Rows of the affine matrix.
    pub srow: [[f64; 4]; 3],
}

/// Where each field begins.
struct Offsets {
    magic: usize,
    datatype: usize,
    bitpix: usize,
    dim: usize,
    pixdim: usize,
    vox_offset: usize,
    scl_slope: usize,
    unit: usize,
    qform_code: usize,
    sform_code: usize,
    quatern: usize,
    qoffset: usize,
    srow: usize,
}

const ONE: Offsets = Offsets {
    magic: 344,
    datatype: 70,
    bitpix: 72,
    dim: 40,
    pixdim: 76,
    vox_offset: 108,
    scl_slope: 112,
    unit: 123,
    qform_code: 252,
    sform_code: 254,
    quatern: 256,
    qoffset: 268,
    srow: 280,
};

const TWO: Offsets = Offsets {
    magic: 4,
    datatype: 12,
    bitpix: 14,
    dim: 16,
    pixdim: 104,
    vox_offset: 168,
    scl_slope: 176,
    unit: 500,
    qform_code: 344,
    sform_code: 348,
    quatern: 352,
    qoffset: 376,
    srow: 400,
};

impl Offsets {
    fn of(version: Version) -> &'static Self {
        match version {
            Version::One => &ONE,
            Version::Two => &TWO,
        }
    }
}

/// The bits of [`Fields::unit`] in a header, whose other bits are the unit of time.
const UNIT_OF_SPACE: u8 = 0b111;

impl Fields {
    /// Reads a header of `version`, of which `bytes` has all.
    pub fn parse(version: Version, bytes: &[u8]) -> Result<Self, Problem> {
        let at = Offsets::of(version);
        let has_length = [false, true].map(|big_endian| Reader { bytes, big_endian }.i32(0) == version.length() as i32);
        let rank = |big_endian| Reader { bytes, big_endian }.size(version, at.dim);
        // As in nifti_clib: the number of dimensions tells the byte order (`need_nhdr_swap`).
        let big_endian = match version {
            Version::One => !(1..=7).contains(&rank(false)) && ((1..=7).contains(&rank(true)) || has_length[1]),
            Version::Two => has_length[1],
        };
        let magic = &bytes[at.magic..at.magic + 4];
        // `n+1` where voxels follow in the same file, `ni1` where they lie in another; what a file says of that and what it is may differ.
        let is_marked = matches!(magic, [b'n', b'+' | b'i', b'1'..=b'9', 0]);
        if !(is_marked || has_length[0] || has_length[1]) {
            let advice = "its header lacks the length 348 and the mark 'n+1'; was it renamed or damaged?";
            return Err(("is not a NIfTI file".to_owned(), advice));
        }
        let read = Reader { bytes, big_endian };
        let real = |at: usize, index: usize| read.real(version, at, index);
        let code = |at: usize| if version == Version::One { i32::from(read.i16(at)) } else { read.i32(at) };
        let step = if version == Version::One { 2 } else { 8 };
        Ok(Self {
            big_endian,
            is_marked,
            dim: std::array::from_fn(|axis| read.size(version, at.dim + step * axis)),
            datatype: read.i16(at.datatype),
            pixdim: std::array::from_fn(|axis| real(at.pixdim, axis)),
            vox_offset: if version == Version::One { real(at.vox_offset, 0) } else { read.i64(at.vox_offset) as f64 },
            scl_slope: real(at.scl_slope, 0),
            scl_inter: real(at.scl_slope, 1),
            unit: if version == Version::One { bytes[at.unit] } else { read.i32(at.unit) as u8 } & UNIT_OF_SPACE,
            qform_code: code(at.qform_code),
            sform_code: code(at.sform_code),
            quatern: std::array::from_fn(|part| real(at.quatern, part)),
            qoffset: std::array::from_fn(|axis| real(at.qoffset, axis)),
            srow: std::array::from_fn(|row| std::array::from_fn(|column| real(at.srow, 4 * row + column))),
        })
    }

    /// The same as a header of `version`, with `bitpix` bits a voxel, and the four bytes that say that no extension follows.
    pub fn encode(&self, version: Version, bitpix: i16) -> Vec<u8> {
        let at = Offsets::of(version);
        let mut write = Writer { bytes: vec![0; version.length() + 4], big_endian: self.big_endian };
        write.put(0, (version.length() as i32).to_le_bytes());
        match version {
            Version::One => write.bytes[at.magic..at.magic + 4].copy_from_slice(b"n+1\0"),
            Version::Two => write.bytes[at.magic..at.magic + 8].copy_from_slice(b"n+2\0\r\n\x1a\n"),
        }
        write.put(at.datatype, self.datatype.to_le_bytes());
        write.put(at.bitpix, bitpix.to_le_bytes());
        for (axis, size) in self.dim.into_iter().enumerate() {
            match version {
                Version::One => write.put(at.dim + 2 * axis, (size as i16).to_le_bytes()),
                Version::Two => write.put(at.dim + 8 * axis, size.to_le_bytes()),
            }
        }
        match version {
            Version::One => {
                write.put(at.vox_offset, (self.vox_offset as f32).to_le_bytes());
                write.bytes[at.unit] = self.unit;
                write.put(at.qform_code, (self.qform_code as i16).to_le_bytes());
                write.put(at.sform_code, (self.sform_code as i16).to_le_bytes());
            }
            Version::Two => {
                write.put(at.vox_offset, (self.vox_offset as i64).to_le_bytes());
                write.put(at.unit, i32::from(self.unit).to_le_bytes());
                write.put(at.qform_code, self.qform_code.to_le_bytes());
                write.put(at.sform_code, self.sform_code.to_le_bytes());
            }
        }
        write.reals(version, at.pixdim, &self.pixdim);
        write.reals(version, at.scl_slope, &[self.scl_slope, self.scl_inter]);
        write.reals(version, at.quatern, &self.quatern);
        write.reals(version, at.qoffset, &self.qoffset);
        write.reals(version, at.srow, self.srow.as_flattened());
        write.bytes
    }
}

/// Reads numbers in a header's byte order.
struct Reader<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

impl Reader<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.bytes[at..at + N]);
        if self.big_endian {
            bytes.reverse();
        }
        bytes
    }

    fn i16(&self, at: usize) -> i16 {
        i16::from_le_bytes(self.array(at))
    }

    fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.array(at))
    }

    fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.array(at))
    }

    /// A number of `dim`.
    fn size(&self, version: Version, at: usize) -> i64 {
        if version == Version::One { i64::from(self.i16(at)) } else { self.i64(at) }
    }

    /// Real number `index` of those that begin at `at`.
    fn real(&self, version: Version, at: usize, index: usize) -> f64 {
        match version {
            Version::One => f64::from(f32::from_le_bytes(self.array(at + 4 * index))),
            Version::Two => f64::from_le_bytes(self.array(at + 8 * index)),
        }
    }
}

/// Writes numbers in a header's byte order.
struct Writer {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Writer {
    /// Puts a number, given as little endian bytes, where a field begins.
    fn put<const N: usize>(&mut self, at: usize, mut number: [u8; N]) {
        if self.big_endian {
            number.reverse();
        }
        self.bytes[at..at + N].copy_from_slice(&number);
    }

    fn reals(&mut self, version: Version, at: usize, numbers: &[f64]) {
        for (index, number) in numbers.iter().enumerate() {
            match version {
                Version::One => self.put(at + 4 * index, (*number as f32).to_le_bytes()),
                Version::Two => self.put(at + 8 * index, number.to_le_bytes()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_hold_the_same_fields() {
        for big_endian in [false, true] {
            let fields = Fields {
                big_endian,
                is_marked: true,
                dim: [3, 30, 20, 10, 1, 1, 1, 1],
                datatype: 4,
                pixdim: [-1.0, 0.5, 0.75, 2.5],
                vox_offset: 544.0,
                scl_slope: 2.0,
                scl_inter: -1.0,
                unit: 2,
                qform_code: 1,
                sform_code: 2,
                quatern: [0.5, -0.25, 0.125],
                qoffset: [1.0, 2.0, 3.0],
                srow: std::array::from_fn(|row| std::array::from_fn(|column| (4 * row + column) as f64)),
            };
            for version in [Version::One, Version::Two] {
                let bytes = fields.encode(version, 16);
                assert_eq!(Version::of([bytes[0], bytes[1], bytes[2], bytes[3]]), version);
                assert_eq!(Fields::parse(version, &bytes), Ok(fields.clone()));
            }
        }
    }
}
