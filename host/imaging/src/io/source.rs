//! Opening a file, and what its size allows its header to claim.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Take};
use std::path::{Component, Path, PathBuf};

use flate2::bufread::ZlibDecoder;

use super::gzip::{Members, is_gzip};
use super::{Error, open_file};

/// Deflate makes at most this many bytes of one.
pub const LARGEST_EXPANSION: u64 = 1032;
/// Longest text header that is read. Real ones have some kilobytes.
const LONGEST_TEXT: u64 = 1 << 20;

/// What is wrong with a file's content: what was found, and what was expected or helps.
pub type Problem = (String, &'static str);

/// A file that is being read.
pub struct Source {
    path: PathBuf,
    reader: BufReader<File>,
    length: u64,
}

impl Source {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let opened = open_file(path).and_then(|file| {
            let length = file.metadata()?.len();
            Ok((BufReader::with_capacity(1 << 16, file), length))
        });
        let (reader, length) = opened.map_err(|cause| Error::Read { path: path.to_owned(), cause })?;
        Ok(Self { path: path.to_owned(), reader, length })
    }

    /// The file of voxels that this header names, which lies beside the header: one of a stranger may name any file of the user's.
    pub fn sibling(&self, name: &str) -> Result<Self, Error> {
        if name.contains('%') || name.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("list")) {
            return Err(self.wrong((
                format!("has its voxels in several files ('{name}')"),
                "only one can be read; let the program that wrote it write a single file",
            )));
        }
        let plain = name.strip_prefix("./").unwrap_or(name);
        let mut parts = Path::new(plain).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == plain) {
            return Err(self.wrong((
                format!("has its voxels in '{}', which is not in its own folder", name.escape_debug()),
                "move that file beside the header, and let the header give its name alone",
            )));
        }
        let advice = "copy that file to the same folder as well, or write both as one";
        let unreadable = |cause: &dyn std::fmt::Display| {
            self.wrong((format!("has its voxels in '{}', which cannot be read ({cause})", name.escape_debug()), advice))
        };
        Self::open(&self.path.with_file_name(plain)).map_err(|error| match error {
            Error::Read { cause, .. } => unreadable(&cause),
            other => other,
        })
    }

    /// The file's length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What to say when the system cannot read on.
    pub fn failed(&self, cause: io::Error) -> Error {
        Error::Read { path: self.path.clone(), cause }
    }

    /// What to say when the content is at fault.
    pub fn wrong(&self, problem: Problem) -> Error {
        Error::content(&self.path, problem)
    }

    /// Whether what comes next is a gzip stream.
    pub fn is_gzip(&mut self) -> Result<bool, Error> {
        // At the beginning of a file or after a header of text, which is far shorter than the buffer, the bytes are there already.
        self.reader.fill_buf().map(is_gzip).map_err(|cause| self.failed(cause))
    }

    /// The next `N` bytes; `None` when there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Error> {
        let mut bytes = [0; N];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The next line without its end; `None` at the end of the file.
    pub fn line(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(LONGEST_TEXT).read_until(b'\n', &mut line);
        match read.map_err(|cause| self.failed(cause))? {
            0 => return Ok(None),
            length if length as u64 == LONGEST_TEXT => {
                return Err(self.wrong(("has a line of a megabyte in its header".to_owned(), "the header is damaged; copy the file again")));
            }
            _ => {}
        }
        for end in [b'\n', b'\r'] {
            line.pop_if(|last| *last == end);
        }
        Ok(Some(line))
    }

    /// Checks that `length` bytes can follow from here, or come out of what follows when it is deflated. `claim` is what the header says.
    pub fn check_length(&mut self, length: Option<usize>, deflated: bool, claim: impl FnOnce() -> String) -> Result<usize, Error> {
        let position = self.reader.stream_position().map_err(|cause| self.failed(cause))?;
        let rest = self.length.saturating_sub(position);
        let available = if deflated { rest.saturating_mul(LARGEST_EXPANSION) } else { rest };
        length.filter(|length| *length as u64 <= available).ok_or_else(|| {
            let found = format!("is {} bytes long, and its header claims {}, which need more", self.length, claim());
            self.wrong((found, "the file is cut off or its header damaged; copy it again"))
        })
    }

    /// Goes to `offset` bytes after the current position, or the end if that is before.
    pub fn skip(&mut self, offset: u64) -> Result<(), Error> {
        io::copy(&mut self.reader.by_ref().take(offset), &mut io::sink()).map(drop).map_err(|cause| self.failed(cause))
    }

    /// Goes to `length` bytes before the end.
    pub fn skip_to_last(&mut self, length: u64) -> Result<(), Error> {
        self.reader.seek(SeekFrom::Start(self.length.saturating_sub(length))).map(drop).map_err(|cause| self.failed(cause))
    }

    /// The rest of the file.
    pub fn into_reader(self) -> BufReader<File> {
        self.reader
    }

    /// What the gzip streams hold that begin here and are `length` bytes long at most.
    pub fn into_gzip(self, length: u64) -> Members<Take<BufReader<File>>> {
        Members::new(self.reader.take(length))
    }

    /// What the zlib stream holds that begins here and is `length` bytes long at most.
    pub fn into_zlib(self, length: u64) -> ZlibDecoder<Take<BufReader<File>>> {
        ZlibDecoder::new(self.reader.take(length))
    }
}

/// The name of a file of voxels, as a line of a header says it.
pub fn written_name(data: &Path) -> Result<String, Error> {
    let name = data.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // A line break would begin another field.
    if name.contains(char::is_control) {
        return Err(Error::unwritable(data, "its name has a control character".to_owned(), "rename the case"));
    }
    Ok(name)
}
