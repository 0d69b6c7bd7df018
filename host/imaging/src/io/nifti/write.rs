//! Writing NIfTI: what the header of the geometry's source says of geometry, in the source's byte order, and the voxels.

use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::header::{Header, LONGEST_AXIS};
use crate::io::format::ends_with;
use crate::io::values::Values;
use crate::io::{Error, Geometry, write_atomically};

/// Writes `values`, compressed if the ending is `.gz`.
pub fn write(path: &Path, values: Values, geometry: &Geometry) -> Result<(), Error> {
    let shape = values.shape();
    if shape.iter().any(|&size| size > LONGEST_AXIS) {
        return Err(Error::TooLarge { path: path.to_owned(), shape, limit: LONGEST_AXIS });
    }
    let header = geometry.header().cloned().unwrap_or_else(|| Header::from_geometry(geometry));
    let put = |writer: &mut dyn Write| -> io::Result<()> {
        writer.write_all(&header.for_volume(shape, values.number()))?;
        values.encode(writer, header.is_big_endian())
    };
    write_atomically(path, |file| {
        if !ends_with(path, ".gz") {
            return put(file);
        }
        let mut encoder = GzEncoder::new(file, Compression::default());
        put(&mut encoder)?;
        encoder.finish().map(drop)
    })
}
