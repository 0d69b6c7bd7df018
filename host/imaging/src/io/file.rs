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

/// The content of a file.
///
/// # Errors
/// When it is none, or cannot be read.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = open_file(path)?;
    let mut bytes = Vec::with_capacity(file.metadata().map_or(0, |file| file.len() as usize));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The content of a file of text.
///
/// # Errors
/// When it is none, cannot be read, or is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_file(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
