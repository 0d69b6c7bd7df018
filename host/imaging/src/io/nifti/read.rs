//! Reading NIfTI. The header is checked against the file's size before anything is allocated for the voxels.

use std::io::{self, Read};
use std::path::Path;

use super::header::{self, Header, Library};
use crate::io::source::{LARGEST_EXPANSION, Source};
use crate::io::voxels::Stored;
use crate::io::{Error, ends_with};

/// Opens a file; its voxels are read by whoever uses the result.
pub fn open(path: &Path) -> Result<Stored<'static>, Error> {
    let failed = |cause| Error::Read { path: path.to_owned(), cause };
    let wrong = |problem| Error::content(path, problem);

    let library = if ends_with(path, ".nii") { Library::Nibabel } else { Library::SimpleItk };
    let mut source = Source::open(path)?;
    let file_length = source.length();
    // The content says whether it is compressed: files are renamed without a thought.
    let compressed = source.is_gzip()?;
    let mut reader: Box<dyn Read> = if compressed { Box::new(source.into_gzip(u64::MAX)) } else { Box::new(source.into_reader()) };

    let mut bytes = [0; header::LENGTH];
    reader.read_exact(&mut bytes).map_err(|cause| match cause.kind() {
        io::ErrorKind::UnexpectedEof => wrong(("ends before its 348-byte header does".to_owned(), "it is empty, damaged or not NIfTI")),
        _ => failed(cause),
    })?;
    let header = Header::parse(bytes).map_err(wrong)?;

    let available = if compressed { file_length.saturating_mul(LARGEST_EXPANSION) } else { file_length };
    let fits = |length: usize| header.data_offset().checked_add(length as u64).is_some_and(|end| end <= available);
    let length = header.data_length().filter(|length| fits(*length)).ok_or_else(|| {
        wrong((
            format!("is {file_length} bytes long, and its header claims {:?} voxels (c, z, y, x), which need more", header.shape()),
            "the file is cut off or its header damaged; copy it again",
        ))
    })?;
    io::copy(&mut reader.by_ref().take(header.data_offset() - header::LENGTH as u64), &mut io::sink()).map_err(failed)?;
    Ok(Stored {
        shape: header.shape(),
        interleaved: false,
        number: header.number(),
        big_endian: header.is_big_endian(),
        scaling: header.scaling(library),
        geometry: header.geometry(library),
        // What follows the voxels of an uncompressed file is no concern; a compressed one ends with a checksum.
        bytes: if compressed { reader } else { Box::new(reader.take(length as u64)) },
    })
}
