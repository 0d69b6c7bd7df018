//! Writing a file so that it is there completely or not at all.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use tempfile::Builder;

use super::Error;
use crate::failpoint;

/// What names of temporary files begin with.
const PREFIX: &str = ".writing-";

/// Lets `write` fill a temporary file in the folder of `path` (created if need be), syncs it, renames it to `path` and syncs the folder.
///
/// On an error, whatever was at `path` before is still there and the temporary file is gone. What `write` gets is buffered.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Error> {
    write_and_rename(path, write).map_err(|cause| Error::Write { path: path.to_owned(), cause })
}

/// A temporary file that nobody has written to for so long is nobody's.
pub const ABANDONED: Duration = Duration::from_secs(3600);

/// Removes what killed programs left half-written in `folder`: temporary files that nobody has written to for `abandoned`. One that cannot
/// be removed does no harm, either.
pub fn remove_leftovers(folder: &Path, abandoned: Duration) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_temporary = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        let age = entry.metadata().and_then(|file| file.modified()).ok().and_then(|time| time.elapsed().ok());
        if is_temporary && age.is_some_and(|age| age >= abandoned) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn write_and_rename(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut builder = Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default, results are not: the umask decides, as for any other file.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = builder.prefix(PREFIX).tempfile_in(folder)?;
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    write(&mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    let name = path.file_name().unwrap_or_default().display();
    failpoint::reached(format_args!("sync {name}"));
    file.as_file().sync_all()?;
    failpoint::reached(format_args!("rename {name}"));
    file.persist(path).map_err(|error| error.error)?;
    failpoint::reached(format_args!("renamed {name}"));
    sync_folder(folder);
    Ok(())
}

/// Makes names in a folder last: a power cut may otherwise undo a rename whose file is on the disk. File systems that cannot do that do without.
pub fn sync_folder(folder: &Path) {
    let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/folder/file");
        write_atomically(&path, |writer| writer.write_all(b"old")).unwrap();

        let error = write_atomically(&path, |writer| {
            writer.write_all(b"new")?;
            Err(io::Error::other("out of luck"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("new/folder/file") && error.to_string().contains("out of luck"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_was_abandoned_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new, other] = [".writing-old", ".writing-new", "other"].map(|name| folder.path().join(name));
        for path in [&old, &new, &other] {
            let file = fs::File::create(path).unwrap();
            if *path != new {
                file.set_modified(std::time::SystemTime::now() - Duration::from_secs(7200)).unwrap();
            }
        }
        remove_leftovers(folder.path(), ABANDONED);
        assert!(!old.exists() && new.exists() && other.exists());
    }

    #[cfg(unix)]
    #[test]
    fn the_umask_decides_who_may_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_atomically(&ours, |_| Ok(())).unwrap();
        fs::write(&plain, "").unwrap();
        assert_eq!(fs::metadata(ours).unwrap().permissions().mode(), fs::metadata(plain).unwrap().permissions().mode());
    }
}
