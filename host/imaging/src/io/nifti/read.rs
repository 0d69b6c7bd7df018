//! Reading NIfTI. The header is checked against the file's size before anything is allocated for the voxels.

use std::io::{self, Read};
use std::path::Path;

use super::fields::{LENGTH_1, Version};
use super::header::{Header, Library};
use crate::io::source::{LARGEST_EXPANSION, Source};
use crate::io::voxels::Stored;
use crate::io::{Error, Reader};

/// Opens a file as `reader`, one of nnU-Net's readers, does by `library`; its voxels are read by whoever uses the result.
pub fn open(path: &Path, reader: Reader, library: Library) -> Result<Stored<'static>, Error> {
    let failed = |cause| Error::Read { path: path.to_owned(), cause };
    let wrong = |problem| Error::content(path, problem);

    let mut source = Source::open(path)?;
    let file_length = source.length();
    // The content says whether it is compressed: files are renamed without a thought.
    let compressed = source.is_gzip()?;
    let mut bytes: Box<dyn Read> = if compressed { Box::new(source.into_gzip(u64::MAX)) } else { Box::new(source.into_reader()) };

    let cut_off = |cause: io::Error| match cause.kind() {
        io::ErrorKind::UnexpectedEof => wrong(("ends before its header does".to_owned(), "it is empty, damaged or not NIfTI")),
        _ => failed(cause),
    };
    let mut head = vec![0; LENGTH_1];
    bytes.read_exact(&mut head).map_err(cut_off)?;
    let version = Version::of([head[0], head[1], head[2], head[3]]);
    head.resize(version.length(), 0);
    bytes.read_exact(&mut head[LENGTH_1..]).map_err(cut_off)?;
    let header = Header::parse(version, &head).map_err(wrong)?;
    if let Some(found) = header.refused_by(library) {
        return Err(Error::not_opened(path, reader, found));
    }

    let available = if compressed { file_length.saturating_mul(LARGEST_EXPANSION) } else { file_length };
    let fits = |length: usize| header.data_offset().checked_add(length as u64).is_some_and(|end| end <= available);
    let length = header.data_length().filter(|length| fits(*length)).ok_or_else(|| {
        wrong((
            format!("is {file_length} bytes long, and its header claims {:?} voxels (c, z, y, x), which need more", header.shape()),
            "the file is cut off or its header damaged; copy it again",
        ))
    })?;
    io::copy(&mut bytes.by_ref().take(header.data_offset() - head.len() as u64), &mut io::sink()).map_err(failed)?;
    Ok(Stored {
        shape: header.shape(),
        interleaved: false,
        number: header.number(),
        big_endian: header.is_big_endian(),
        scaling: header.scaling(library),
        geometry: header.geometry(library),
        // What follows the voxels of an uncompressed file is no concern; a compressed one ends with a checksum.
        bytes: if compressed { bytes } else { Box::new(bytes.take(length as u64)) },
    })
}
