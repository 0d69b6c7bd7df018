//! Writing NIfTI: the header of the geometry's source, changed where it describes the voxels, in the source's byte order.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use ::nifti::NiftiType;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::header::{DATA_OFFSET, LONGEST_AXIS};
use crate::Volume;
use crate::io::{Error, Geometry, write_atomically};

/// See [`crate::io::write_labels`].
pub fn write_labels(path: &Path, labels: &Volume<i16>, geometry: &Geometry) -> Result<(), Error> {
    let (min, max) = labels.data().iter().fold((0, 0), |(min, max), &label| (label.min(min), label.max(max)));
    let kind = match (min, max) {
        (..0, _) => NiftiType::Int16,
        (_, ..255) => NiftiType::Uint8,
        _ => NiftiType::Uint16,
    };
    let header = header(path, labels.shape(), kind, geometry)?;
    let big_endian = geometry.header().is_big_endian();
    write_file(path, &header, |writer| {
        labels.data().iter().try_for_each(|&label| match kind {
            NiftiType::Uint8 => writer.write_all(&[label as u8]),
            // From 0 to 32767, signed and unsigned numbers look the same.
            _ => writer.write_all(&if big_endian { label.to_be_bytes() } else { label.to_le_bytes() }),
        })
    })
}

/// See [`crate::io::write_image`].
pub fn write_image(path: &Path, image: &Volume<f32>, geometry: &Geometry) -> Result<(), Error> {
    let header = header(path, image.shape(), NiftiType::Float32, geometry)?;
    let big_endian = geometry.header().is_big_endian();
    write_file(path, &header, |writer| {
        image.data().iter().try_for_each(|&value| writer.write_all(&if big_endian { value.to_be_bytes() } else { value.to_le_bytes() }))
    })
}

fn header(path: &Path, shape: [usize; 4], kind: NiftiType, geometry: &Geometry) -> Result<[u8; DATA_OFFSET], Error> {
    if shape.iter().any(|&size| size > LONGEST_AXIS) {
        return Err(Error::TooLarge { path: path.to_owned(), shape, limit: LONGEST_AXIS });
    }
    Ok(geometry.header().for_volume(shape, kind))
}

/// A writer of known type, so that writing one voxel is no virtual call.
type Voxels<'a> = BufWriter<&'a mut dyn Write>;

fn write_file(path: &Path, header: &[u8], voxels: impl FnOnce(&mut Voxels) -> io::Result<()>) -> Result<(), Error> {
    let compress = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    let write = |file: &mut dyn Write| {
        let mut writer = BufWriter::new(file);
        writer.write_all(header)?;
        voxels(&mut writer)?;
        writer.flush()
    };
    write_atomically(path, |file| {
        if !compress {
            return write(file);
        }
        let mut encoder = GzEncoder::new(file, Compression::default());
        write(&mut encoder)?;
        encoder.finish().map(drop)
    })
}
