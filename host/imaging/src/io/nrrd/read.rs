//! Reading NRRD. What the header claims is checked against the file's size before anything is allocated for the voxels.

use std::io::{self, Read};
use std::path::Path;

use super::header::{Encoding, Header};
use crate::io::Error;
use crate::io::source::Source;
use crate::io::text::{Digits, Hexadecimal};
use crate::io::voxels::{Scaling, Stored, byte_length};

/// Longest header, in lines.
const MOST_LINES: usize = 10_000;

/// Opens a file; its voxels are read by whoever uses the result.
pub fn open(path: &Path) -> Result<Stored<'static>, Error> {
    let mut source = Source::open(path)?;
    let header = read_header(&mut source)?;
    let wrong = |problem| Error::content(path, problem);

    let layout = header.layout().map_err(wrong)?;
    let (number, encoding, shape) = (header.number().map_err(wrong)?, header.encoding().map_err(wrong)?, layout.shape());
    let big_endian = header.is_big_endian(number, encoding).map_err(wrong)?;
    let (lines, bytes) = header.skips().map_err(wrong)?;
    if let Some(name) = header.get("datafile") {
        source = source.sibling(name)?;
    }
    for _ in 0..lines {
        if source.line()?.is_none() {
            return Err(wrong((format!("has fewer than the {lines} lines that its header says to skip"), "the header is damaged")));
        }
    }
    let length = byte_length(shape, number.size());
    let claim = || format!("{shape:?} voxels (c, z, y, x)");
    match (bytes, encoding) {
        (None, Encoding::Raw) => source.skip_to_last(length.unwrap_or(usize::MAX) as u64)?,
        (None, _) => {
            return Err(wrong(("has the byte skip -1".to_owned(), "only raw voxels can be found from the end; the header is damaged")));
        }
        (Some(_), Encoding::Gzip) => {}
        (Some(skip), _) => source.skip(skip)?,
    }
    let bytes: Box<dyn Read> = match encoding {
        Encoding::Raw => {
            let length = source.check_length(length, false, claim)?;
            Box::new(source.into_reader().take(length as u64))
        }
        Encoding::Gzip => {
            source.check_length(length, true, claim)?;
            // What is to be skipped is compressed, too.
            let mut reader = source.into_gzip(u64::MAX);
            let skipped = io::copy(&mut reader.by_ref().take(bytes.unwrap_or(0)), &mut io::sink());
            skipped.map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
            Box::new(reader)
        }
        // A voxel takes a digit, and all but the last one what separates it from the next.
        Encoding::Text => {
            source.check_length(byte_length(shape, 2).map(|length| length - 1), false, claim)?;
            Box::new(Digits::new(source.into_reader(), number))
        }
        Encoding::Hex => {
            source.check_length(length.and_then(|length| length.checked_mul(2)), false, claim)?;
            Box::new(Hexadecimal(source.into_reader()))
        }
    };
    let geometry = header.geometry(&layout);
    Ok(Stored { shape, interleaved: layout.is_interleaved(), number, big_endian, scaling: Scaling::None, geometry, bytes })
}

fn read_header(source: &mut Source) -> Result<Header, Error> {
    let magic = source.line()?.unwrap_or_default();
    if !matches!(magic.as_slice(), [b'N', b'R', b'R', b'D', b'0', b'0', b'0', b'1'..=b'5']) {
        return Err(
            source.wrong(("is not an NRRD file".to_owned(), "it does not begin with NRRD0001 to NRRD0005; was it renamed or damaged?"))
        );
    }
    let mut header = Header::new();
    for _ in 0..MOST_LINES {
        // An empty line ends the header; where the voxels are in another file, so does the end.
        let line = source.line()?.unwrap_or_default();
        if line.is_empty() {
            return Ok(header);
        }
        header.line(&String::from_utf8_lossy(&line)).map_err(|problem| source.wrong(problem))?;
    }
    Err(source.wrong((format!("has a header of more than {MOST_LINES} lines"), "the header is damaged; copy the file again")))
}
