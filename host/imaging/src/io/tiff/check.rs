//! A look at the first directory of a TIFF before the decoder reads it, which it does before it can be told how long the file is.

use std::io::{self, Read, Seek, SeekFrom};

/// Whether every value of the first directory can be inside a file of `length` bytes. Leaves the reader at the beginning.
pub fn values_fit(reader: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
    let fit = match first_directory(reader, length) {
        // What is cut off is the decoder's to explain.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => true,
        result => result?,
    };
    reader.rewind()?;
    Ok(fit)
}

fn first_directory(reader: &mut (impl Read + Seek), length: u64) -> io::Result<bool> {
    let big_endian = array(reader)? == *b"MM";
    // Classic files have version 42, and those with 64-bit offsets 43.
    let wide = number::<2>(reader, big_endian)? == 43;
    if wide {
        reader.seek_relative(4)?;
    }
    let long = |reader: &mut _| if wide { number::<8>(reader, big_endian) } else { number::<4>(reader, big_endian) };
    let directory = long(reader)?;
    reader.seek(SeekFrom::Start(directory))?;
    let entries = if wide { number::<8>(reader, big_endian)? } else { number::<2>(reader, big_endian)? };
    // The decoder stops at the end of the file, as this does.
    for _ in 0..entries {
        let _tag = number::<2>(reader, big_endian)?;
        let size = match number::<2>(reader, big_endian)? {
            3 | 8 => 2,
            4 | 9 | 11 | 13 => 4,
            5 | 10 | 12 | 16..=18 => 8,
            _ => 1,
        };
        if long(reader)?.saturating_mul(size) > length {
            return Ok(false);
        }
        long(reader)?;
    }
    Ok(true)
}

fn array<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A number of `N` bytes.
fn number<const N: usize>(reader: &mut impl Read, big_endian: bool) -> io::Result<u64> {
    let mut bytes: [u8; N] = array(reader)?;
    if big_endian {
        bytes.reverse();
    }
    Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
