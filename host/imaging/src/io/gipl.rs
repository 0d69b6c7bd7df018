//! GIPL, the format of Guy's Hospital: a header of 256 bytes, then the voxels, x fastest; all with the most significant byte first.
//!
//! Read as ITK reads it (`itkGiplImageIO.cxx`): always in three dimensions or four, and along the axes of space.

use std::io::Read;
use std::path::Path;

use super::format::Format;
use super::geometry::Placement;
use super::source::Source;
use super::values::Values;
use super::voxels::{Number, Scaling, Stored, byte_length};
use super::{Error, Geometry, Reader, write_atomically};

pub(super) const FORMAT: Format = Format {
    name: "GIPL",
    endings: &[(".gipl", &[Reader::SimpleItk])],
    open: |path, reader, _| reader.is_of_itk().then(|| open(path)),
    write,
    beside: |_, _| None,
};

const LENGTH: usize = 256;
const MAGIC: u32 = 0xefff_e9b0;
/// Longest axis: sizes are 16-bit integers.
const LONGEST_AXIS: usize = u16::MAX as usize;

/// Numbers and what stands for them in the header.
const NUMBERS: [(Number, u16); 8] = [
    (Number::I8, 7),
    (Number::U8, 8),
    (Number::I16, 15),
    (Number::U16, 16),
    (Number::U32, 31),
    (Number::I32, 32),
    (Number::F32, 64),
    (Number::F64, 65),
];

/// Where fields lie in the header.
mod offset {
    pub const SIZES: usize = 0;
    pub const TYPE: usize = 8;
    pub const SPACING: usize = 10;
    pub const ORIGIN: usize = 204;
    pub const MAGIC: usize = 252;
}

/// Opens a file; its voxels are read by whoever uses the result.
fn open(path: &Path) -> Result<Stored<'static>, Error> {
    let wrong = |(found, advice): (&str, _)| Error::content(path, (found.to_owned(), advice));
    let mut source = Source::open(path)?;
    let bytes: [u8; LENGTH] =
        source.array()?.ok_or_else(|| wrong(("ends before its 256-byte header does", "it is empty, damaged or not GIPL")))?;
    if u32::from_be_bytes(array(&bytes, offset::MAGIC)) != MAGIC {
        return Err(wrong(("is not a GIPL file", "its header lacks the magic number; was it renamed or damaged?")));
    }
    let kind = u16::from_be_bytes(array(&bytes, offset::TYPE));
    let number = NUMBERS.iter().find(|(_, code)| *code == kind).map(|(number, _)| *number).ok_or_else(|| {
        let found = format!("has voxels of GIPL type {kind}");
        Error::content(path, (found, "only integers and floats of 8 to 64 bits can be read; convert it"))
    })?;
    let [x, y, z, channels] = [0, 1, 2, 3].map(|axis| usize::from(u16::from_be_bytes(array(&bytes, offset::SIZES + 2 * axis))).max(1));
    let shape = [channels, z, y, x];
    let length = source.check_length(byte_length(shape, number.size()), false, || format!("{shape:?} voxels (c, z, y, x)"))?;
    let spacing = [0, 1, 2].map(|axis| f64::from(f32::from_be_bytes(array(&bytes, offset::SPACING + 4 * axis))));
    let origin = [0, 1, 2].map(|axis| f64::from_be_bytes(array(&bytes, offset::ORIGIN + 8 * axis)));
    Ok(Stored {
        shape,
        interleaved: false,
        number,
        big_endian: true,
        scaling: Scaling::None,
        geometry: Geometry::from_itk(3, spacing, Placement { origin, ..Placement::DEFAULT }),
        bytes: Box::new(source.into_reader().take(length as u64)),
    })
}

fn array<const N: usize>(bytes: &[u8; LENGTH], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

/// Writes `values`. The format has no place for the direction of the axes.
fn write(path: &Path, values: Values, geometry: &Geometry) -> Result<(), Error> {
    let shape = values.shape();
    if shape.iter().any(|&size| size > LONGEST_AXIS) {
        return Err(Error::TooLarge { path: path.to_owned(), shape, limit: LONGEST_AXIS });
    }
    let mut header = [0; LENGTH];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    let (_, code) = NUMBERS.into_iter().find(|(number, _)| *number == values.number()).expect("GIPL has every type that is written");
    put(offset::TYPE, &code.to_be_bytes());
    put(offset::MAGIC, &MAGIC.to_be_bytes());
    let ([z, y, x], origin) = (geometry.spacing(), geometry.in_itk().origin);
    for (axis, size) in shape.into_iter().rev().enumerate() {
        put(offset::SIZES + 2 * axis, &(size as u16).to_be_bytes());
    }
    // ITK refuses channels at no distance from each other.
    for (axis, size) in [x, y, if geometry.is_planar() { 1.0 } else { z }, 1.0].into_iter().enumerate() {
        put(offset::SPACING + 4 * axis, &(size as f32).to_be_bytes());
    }
    for (axis, position) in origin.into_iter().enumerate() {
        put(offset::ORIGIN + 8 * axis, &position.to_be_bytes());
    }
    write_atomically(path, |file| {
        file.write_all(&header)?;
        values.encode(file, true)
    })
}
