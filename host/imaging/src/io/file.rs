//! Opening what is a file, and nothing else: a pipe among the images would be waited for for ever.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Opens a file to read it, which must be one, and no folder, pipe or device.
///
/// # Errors
/// When it is none, or cannot be opened.
pub fn open_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // To open a pipe waits for its writer, unless told not to; of files it changes nothing.
        options.custom_flags(libc::O_NONBLOCK);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is a folder, a pipe or a device")) }
}

/// The longest file of JSON or text that is read: far longer than any that describes something.
const LONGEST_TEXT: u64 = 1 << 30;

/// The content of a file of JSON or text.
///
/// # Errors
/// When it is none, cannot be read, or is longer than a gigabyte.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, LONGEST_TEXT)
}

/// The content of a file of any length that memory can hold.
///
/// # Errors
/// When it is none, or cannot be read.
pub fn read_large_file(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(path, i64::MAX as u64)
}

fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open_file(path)?;
    let length = file.metadata()?.len();
    if length > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is {length} bytes long; expected at most {most}")));
    }
    let mut bytes = Vec::new();
    // A file with holes may claim more than any memory holds.
    bytes.try_reserve_exact(length as usize).map_err(|error| io::Error::new(io::ErrorKind::OutOfMemory, error))?;
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The content of a file of text.
///
/// # Errors
/// When it is none, cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_file(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
