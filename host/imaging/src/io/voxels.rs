//! From a file's bytes to voxels, the same way for every format.
//!
//! A format's module says what it found ([`Stored`]: shape, number type, byte order, scaling) and hands over a reader of the bytes. They
//! are decompressed, decoded and converted slab by slab, so that only the result is ever whole in memory.

use std::io::{self, Read};
use std::path::Path;

use super::{Error, Geometry, limit};
use crate::Volume;
use crate::pages::ask_for_large_pages;

/// For what a decoder gives up on.
const DECODE_ADVICE: &str = "copy it again if it is damaged, else write it in another encoding (a TIFF: tiffcp -c lzw in.tif out.tif)";
/// How many bytes are decoded at a time: few enough to stay in a core's cache.
const SLAB: usize = 1 << 18;

/// The type of the numbers in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Number {
    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }
}

/// What makes real values of stored ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scaling {
    /// Nothing.
    None,
    /// Slope and intercept, in 64 bits.
    Linear(f64, f64),
    /// The same, after integers were rounded to 32-bit floats, as ITK has it.
    LinearOfF32(f64, f64),
}

/// What a file holds.
pub struct Stored<'a> {
    /// (C, Z, Y, X).
    pub shape: [usize; 4],
    /// Whether channels lie side by side for each voxel, rather than one after the other.
    pub interleaved: bool,
    pub number: Number,
    pub big_endian: bool,
    pub scaling: Scaling,
    pub geometry: Geometry,
    /// The voxels, and nothing after them but what a checksum needs.
    pub bytes: Box<dyn Read + 'a>,
}

/// Bytes of `shape` voxels of `size` bytes each. `None` when no computer could hold them.
pub fn byte_length(shape: impl IntoIterator<Item = usize>, size: usize) -> Option<usize> {
    shape.into_iter().try_fold(size, usize::checked_mul)
}

impl Stored<'_> {
    /// Reads and converts all voxels.
    pub fn read<T: Voxel>(mut self, path: &Path) -> Result<(Volume<T>, Geometry), Error> {
        limit::check(path, self.shape)?;
        let failed = |cause: io::Error| match cause.kind() {
            io::ErrorKind::Unsupported => Error::content(path, (format!("cannot be decoded ({cause})"), DECODE_ADVICE)),
            _ => Error::Read { path: path.to_owned(), cause },
        };
        let count = self.shape.iter().product::<usize>();
        let mut data = reserve(count).map_err(failed)?;
        let size = self.number.size();
        let mut slab = vec![0; SLAB.min(count * size)];
        while data.len() < count {
            let slab = &mut slab[..SLAB.min((count - data.len()) * size)];
            if !fill(&mut self.bytes, slab).map_err(failed)? {
                return Err(Error::Content {
                    path: path.to_owned(),
                    found: format!("ends before its {:?} voxels (c, z, y, x) do", self.shape),
                    advice: "the file is cut off or its header damaged; copy it again",
                });
            }
            self.decode(slab, &mut data).map_err(|value| Error::not_a_label(path, value, self.scaling))?;
        }
        // The checksum of compressed data comes last, and is compared when it is read.
        io::copy(&mut self.bytes, &mut io::sink()).map_err(failed)?;
        let [channels, ..] = self.shape;
        let data = if self.interleaved && channels > 1 { planes(&data, channels) } else { data };
        Ok((Volume::new(self.shape, data), self.geometry))
    }

    /// Appends the voxels in `bytes`. An error is the first value that the result cannot hold.
    fn decode<T: Voxel>(&self, bytes: &[u8], out: &mut Vec<T>) -> Result<(), f64> {
        macro_rules! decode_as {
            ($type:ty) => {{
                let (numbers, _) = bytes.as_chunks();
                let (little, big) = (|&bytes: &_| <$type>::from_le_bytes(bytes), |&bytes: &_| <$type>::from_be_bytes(bytes));
                match (self.scaling, self.big_endian) {
                    (Scaling::None, false) => convert(numbers.iter().map(little), T::from_number, out),
                    (Scaling::None, true) => convert(numbers.iter().map(big), T::from_number, out),
                    (Scaling::Linear(slope, intercept), big_endian) => {
                        let number = |bytes| if big_endian { big(bytes) } else { little(bytes) };
                        convert(numbers.iter().map(|bytes| number(bytes) as f64 * slope + intercept), T::from_number, out)
                    }
                    (Scaling::LinearOfF32(slope, intercept), big_endian) => {
                        let number = |bytes| if big_endian { big(bytes) } else { little(bytes) };
                        convert(numbers.iter().map(|bytes| number(bytes).rounded() * slope + intercept), T::from_number, out)
                    }
                }
            }};
        }
        match self.number {
            Number::U8 => decode_as!(u8),
            Number::I8 => decode_as!(i8),
            Number::U16 => decode_as!(u16),
            Number::I16 => decode_as!(i16),
            Number::U32 => decode_as!(u32),
            Number::I32 => decode_as!(i32),
            Number::U64 => decode_as!(u64),
            Number::I64 => decode_as!(i64),
            Number::F32 => decode_as!(f32),
            Number::F64 => decode_as!(f64),
        }
    }
}

/// An empty vector with room for `count` voxels.
fn reserve<T>(count: usize) -> io::Result<Vec<T>> {
    let mut data = Vec::new();
    data.try_reserve_exact(count).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
    ask_for_large_pages(&mut data);
    Ok(data)
}

/// Fills `slab`; false when the reader ends before.
fn fill(reader: &mut impl Read, mut slab: &mut [u8]) -> io::Result<bool> {
    while !slab.is_empty() {
        match reader.read(slab) {
            Ok(0) => return Ok(false),
            Ok(length) => slab = &mut slab[length..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn convert<N: StoredNumber, T: Voxel>(
    numbers: impl Iterator<Item = N>,
    to_voxel: impl Fn(N) -> Option<T>,
    out: &mut Vec<T>,
) -> Result<(), f64> {
    let mut refused = None;
    out.extend(numbers.map(|number| {
        to_voxel(number).unwrap_or_else(|| {
            refused.get_or_insert(number.wide());
            T::default()
        })
    }));
    refused.map_or(Ok(()), Err)
}

/// Channels of interleaved data, one after the other.
fn planes<T: Voxel>(interleaved: &[T], channels: usize) -> Vec<T> {
    (0..channels).flat_map(|channel| interleaved.iter().skip(channel).step_by(channels).copied()).collect()
}

/// A number of a file.
pub trait StoredNumber: Copy {
    fn wide(self) -> f64;
    /// As wide, but integers are rounded to 32-bit floats first.
    fn rounded(self) -> f64;
    fn narrow(self) -> f32;
    /// `None` when it is no integer that fits into 16 bits. Real numbers are compared as 32 bits hold them, as nnU-Net does: a slope that
    /// was computed in 32 bits makes 1.00000006 of 1.
    fn label(self) -> Option<i16>;
}

macro_rules! stored_numbers {
    ($($type:ty: $rounded:ty, $label:expr;)*) => {$(
        impl StoredNumber for $type {
            fn wide(self) -> f64 {
                self as f64
            }
            fn rounded(self) -> f64 {
                self as $rounded as f64
            }
            fn narrow(self) -> f32 {
                self as f32
            }
            fn label(self) -> Option<i16> {
                $label(self)
            }
        }
    )*};
}
stored_numbers! {
    u8: f32, |value| Some(i16::from(value));
    i8: f32, |value| Some(i16::from(value));
    i16: f32, Some;
    u16: f32, |value| i16::try_from(value).ok();
    u32: f32, |value| i16::try_from(value).ok();
    i32: f32, |value| i16::try_from(value).ok();
    u64: f32, |value| i16::try_from(value).ok();
    i64: f32, |value| i16::try_from(value).ok();
    f32: f32, |value| Some(value as i16).filter(|label| f32::from(*label) == value);
    f64: f64, |value| f32::label(value as f32);
}

/// What volumes are made of.
pub trait Voxel: Copy + Default {
    /// `None` when this type has no such value.
    fn from_number(number: impl StoredNumber) -> Option<Self>;
}

impl Voxel for f32 {
    fn from_number(number: impl StoredNumber) -> Option<Self> {
        Some(number.narrow())
    }
}

/// A label.
impl Voxel for i16 {
    fn from_number(number: impl StoredNumber) -> Option<Self> {
        number.label()
    }
}
