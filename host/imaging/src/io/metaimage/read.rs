//! Reading MetaImage. What the header claims is checked against the file's size before anything is allocated for the voxels.

use std::io::Read;
use std::path::Path;

use super::header::Header;
use crate::io::Error;
use crate::io::source::Source;
use crate::io::voxels::{Scaling, Stored, byte_length};

/// Longest header, in lines.
const MOST_LINES: usize = 10_000;

/// Opens a file; its voxels are read by whoever uses the result.
pub fn open(path: &Path) -> Result<Stored<'static>, Error> {
    let mut source = Source::open(path)?;
    let header = read_header(&mut source)?;
    let wrong = |problem| Error::content(path, problem);

    let (number, sizes, channels) = (header.number().map_err(wrong)?, header.sizes().map_err(wrong)?, header.channels().map_err(wrong)?);
    let size = |axis: usize| sizes.get(axis).copied().unwrap_or(1);
    if channels > 1 && sizes.len() == 4 {
        let found = format!("has {} volumes of {channels} channels", size(3));
        return Err(wrong((found, "only 4 dimensions or several channels can be read, not both; split it")));
    }
    let shape = [channels * size(3), size(2), size(1), size(0)];
    let length = byte_length(shape, number.size());
    let claim = || format!("{shape:?} voxels (c, z, y, x)");

    let name = header.get("ElementDataFile").unwrap_or_default();
    if !name.eq_ignore_ascii_case("local") {
        source = source.sibling(name)?;
        match header.skip().map_err(wrong)? {
            Some(skip) => source.skip(skip)?,
            None => source.skip_to_last(length.unwrap_or(usize::MAX) as u64)?,
        }
    }
    let length = source.check_length(length, header.is_compressed(), claim)?;
    let bytes: Box<dyn Read> = if header.is_compressed() {
        let compressed = header.compressed_length().unwrap_or(u64::MAX);
        if source.is_gzip()? { Box::new(source.into_gzip(compressed)) } else { Box::new(source.into_zlib(compressed)) }
    } else {
        Box::new(source.into_reader().take(length as u64))
    };
    let geometry = header.geometry(sizes.len());
    Ok(Stored { shape, interleaved: channels > 1, number, big_endian: header.is_big_endian(), scaling: Scaling::None, geometry, bytes })
}

fn read_header(source: &mut Source) -> Result<Header, Error> {
    let mut header = Header::new();
    for _ in 0..MOST_LINES {
        let Some(line) = source.line()? else { break };
        if header.line(&String::from_utf8_lossy(&line)).map_err(|problem| source.wrong(problem))? {
            return Ok(header);
        }
    }
    Err(source.wrong(("has a header without ElementDataFile".to_owned(), "MetaImage requires it as the last field; is it cut off?")))
}
