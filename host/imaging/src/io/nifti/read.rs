//! Reading NIfTI. The header is checked against the file's size before anything is allocated for the voxels.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use ::nifti::NiftiType;
use flate2::bufread::MultiGzDecoder;

use super::header::{self, Header};
use crate::Volume;
use crate::io::{Error, Geometry, Image, LabelMap};

/// Deflate makes at most this many bytes of one.
const LARGEST_EXPANSION: u64 = 1032;

/// See [`crate::io::read_image`].
pub fn read_image(path: &Path) -> Result<Image, Error> {
    let file = Contents::read(path)?;
    let Ok(data) = file.map_voxels(|value| Ok::<_, Infallible>(value as f32));
    Ok(Image { volume: Volume::new(file.header.shape(), data), geometry: Geometry::from_header(file.header) })
}

/// See [`crate::io::read_labels`].
pub fn read_labels(path: &Path) -> Result<LabelMap, Error> {
    let file = Contents::read(path)?;
    let shape = file.header.shape();
    if shape[0] != 1 {
        return Err(Error::LabelChannels { path: path.to_owned(), channels: shape[0] });
    }
    let to_label = |value: f64| {
        let label = value as i16;
        if f64::from(label) == value { Ok(label) } else { Err(Error::NotALabel { path: path.to_owned(), value }) }
    };
    let data = file.map_voxels(to_label)?;
    Ok(LabelMap { volume: Volume::new(shape, data), geometry: Geometry::from_header(file.header) })
}

/// A file's header and its voxels, as stored.
struct Contents {
    header: Header,
    data: Vec<u8>,
}

impl Contents {
    fn read(path: &Path) -> Result<Self, Error> {
        let failed = |cause| Error::Read { path: path.to_owned(), cause };
        let wrong = |(found, advice)| Error::Content { path: path.to_owned(), found, advice };

        let file = File::open(path).map_err(failed)?;
        let file_length = file.metadata().map_err(failed)?.len();
        let mut reader = BufReader::with_capacity(1 << 16, file);
        // The content says whether it is compressed: files are renamed without a thought.
        let compressed = reader.fill_buf().map_err(failed)?.starts_with(&[0x1f, 0x8b]);
        let mut reader: Box<dyn Read> = if compressed { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };

        let mut bytes = [0; header::LENGTH];
        reader.read_exact(&mut bytes).map_err(|cause| match cause.kind() {
            io::ErrorKind::UnexpectedEof => wrong(("ends before its 348-byte header does".to_owned(), "it is empty, damaged or not NIfTI")),
            _ => failed(cause),
        })?;
        let header = Header::parse(bytes).map_err(wrong)?;

        let available = if compressed { file_length.saturating_mul(LARGEST_EXPANSION) } else { file_length };
        let fits = |length: &usize| header.data_offset().checked_add(*length as u64).is_some_and(|end| end <= available);
        let too_short = |header: &Header| {
            wrong((
                format!("is {file_length} bytes long, and its header claims {:?} voxels (c, z, y, x), which need more", header.shape()),
                "the file is cut off or its header damaged; copy it again",
            ))
        };
        let length = header.data_length().filter(fits).ok_or_else(|| too_short(&header))?;

        io::copy(&mut reader.by_ref().take(header.data_offset() - header::LENGTH as u64), &mut io::sink()).map_err(failed)?;
        let mut data = Vec::new();
        data.try_reserve_exact(length).map_err(|error| failed(io::Error::new(io::ErrorKind::OutOfMemory, error)))?;
        reader.by_ref().take(length as u64).read_to_end(&mut data).map_err(failed)?;
        if data.len() < length {
            return Err(too_short(&header));
        }
        if compressed {
            // The checksum comes last, and is compared when it is read.
            io::copy(&mut reader, &mut io::sink()).map_err(failed)?;
        }
        Ok(Self { header, data })
    }

    /// Applies the header's scaling to every voxel, then `convert`. 64-bit integers beyond 2^53 are rounded.
    fn map_voxels<T, E>(&self, convert: impl Fn(f64) -> Result<T, E>) -> Result<Vec<T>, E> {
        let (slope, intercept) = self.header.scaling();
        let convert = |stored: f64| convert(stored * slope + intercept);
        let big_endian = self.header.is_big_endian();
        macro_rules! map_as {
            ($type:ty) => {{
                let (voxels, _) = self.data.as_chunks();
                let number = |&bytes| if big_endian { <$type>::from_be_bytes(bytes) } else { <$type>::from_le_bytes(bytes) };
                voxels.iter().map(|bytes| convert(number(bytes) as f64)).collect()
            }};
        }
        match self.header.kind() {
            NiftiType::Uint8 => map_as!(u8),
            NiftiType::Int8 => map_as!(i8),
            NiftiType::Uint16 => map_as!(u16),
            NiftiType::Int16 => map_as!(i16),
            NiftiType::Uint32 => map_as!(u32),
            NiftiType::Int32 => map_as!(i32),
            NiftiType::Uint64 => map_as!(u64),
            NiftiType::Int64 => map_as!(i64),
            NiftiType::Float32 => map_as!(f32),
            NiftiType::Float64 => map_as!(f64),
            other => unreachable!("headers with {other:?} are refused"),
        }
    }
}
