//! Gzip streams: members one after the other, and whatever follows the last.

use std::io::{self, BufRead, Chain, Cursor, Read};

use flate2::bufread::GzDecoder;

/// What a member begins with.
const MARK: [u8; 2] = [0x1f, 0x8b];

/// Whether bytes begin as a gzip stream does.
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&MARK)
}

/// What the members of a gzip stream hold. Once a member has ended, with the right checksum, bytes that do not begin another one are
/// ignored, as zlib's `gzread` does, and ITK and nibabel with it. A member that is cut off is an error.
pub struct Members<R> {
    /// Where the next member's mark was read from the file to look at it, it comes first.
    current: Option<GzDecoder<Chain<Cursor<Vec<u8>>, R>>>,
}

impl<R: BufRead> Members<R> {
    /// The members that begin at the reader's position; the first must be there.
    pub fn new(reader: R) -> Self {
        Self { current: Some(GzDecoder::new(Cursor::new(Vec::new()).chain(reader))) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(member) = &mut self.current else { return Ok(0) };
            let length = member.read(out)?;
            if length > 0 || out.is_empty() {
                return Ok(length);
            }
            let Some(ended) = self.current.take() else { return Ok(0) };
            let (_, mut rest) = ended.into_inner().into_inner();
            let mut mark = Vec::new();
            rest.by_ref().take(MARK.len() as u64).read_to_end(&mut mark)?;
            if mark == MARK {
                self.current = Some(GzDecoder::new(Cursor::new(mark).chain(rest)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn member(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// With a buffer of three bytes, so that members end anywhere in it.
    fn read(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        Members::new(BufReader::with_capacity(3, bytes)).read_to_string(&mut text).map(|_| text)
    }

    #[test]
    fn members_follow_each_other_and_what_is_none_is_ignored() {
        let two = [member("one, "), member("two")].concat();
        assert_eq!(read(&two).unwrap(), "one, two");
        for rest in [&b"\n"[..], &[0; 512], b"garbage!", &[0x1f], &[0x1f, 0x8c], &[0, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0]] {
            assert_eq!(read(&[&two, rest].concat()).unwrap(), "one, two", "{rest:?}");
        }
    }

    #[test]
    fn a_member_that_is_cut_off_or_damaged_is_an_error() {
        let two = [member("one, "), member("two")].concat();
        let first = member("one, ").len();
        for length in (1..first).chain(first + 2..two.len()) {
            assert!(read(&two[..length]).is_err(), "{length} bytes");
        }
        let mut damaged = two.clone();
        damaged[first - 6] ^= 1;
        assert!(read(&damaged).is_err());
    }
}
