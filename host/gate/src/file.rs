//! A library's file, read once. What is said of it, checked and run afterwards is said, checked and run of these very bytes.
//!
//! The dynamic loader gets a copy in memory that nobody can change any more, not the file. Loading the open file by its descriptor would
//! be safe from another one that takes its name, but not from being rewritten in place: by somebody who has had it open since
//! before its mode was put right, or by an author's `cp` over a library that is training, which crashes it. The price is that memory,
//! 3 ms for 9 MB, and that debuggers and `perf` see `/memfd:libNAME.so` where the path was.

use super::refusal::{LoadError, Reason};
use super::{Host, PluginIdentity, compatible, manifest, permissions, trust};
use data::hash::sha256;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The kernel takes 249 bytes; this is only for people.
const LONGEST_NAME: usize = 200;

/// A trainer plugin that has been read, and has not run.
#[derive(Debug)]
pub struct LibraryFile {
    /// Which it is.
    pub identity: PluginIdentity,
    file: File,
    bytes: Vec<u8>,
}

impl LibraryFile {
    /// Reads the library at `path` and its manifest.
    ///
    /// # Errors
    /// When it cannot be read, or is no plugin.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let refuse = |reason| LoadError { path: path.to_owned(), reason };
        let (file, bytes) = read_file(path).map_err(refuse)?;
        let manifest = manifest::read(&bytes).map_err(|e| refuse(e.into()))?;
        let real_path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok();
        let identity = PluginIdentity { path: path.to_owned(), real_path, manifest, sha256: sha256(&bytes) };
        Ok(Self { identity, file, bytes })
    }

    /// Whether `host` may load it, as far as can be told without running it: nobody else can have written it, or it is pinned where that cannot be
    /// told, and the host has what it was built for.
    ///
    /// # Errors
    /// When it may not.
    pub fn check(&self, host: &Host) -> Result<(), LoadError> {
        let refuse = |reason| LoadError { path: self.identity.path.clone(), reason };
        if let Some(unknown) = permissions::check(&self.identity.path, &self.file).map_err(|e| refuse(e.into()))? {
            trust::admit_unknown(&self.identity, host, unknown).map_err(|e| refuse(e.into()))?;
        }
        compatible::check(&self.identity.manifest, host).map_err(refuse)
    }

    /// The same and whether the user lets it be loaded, which decides under `--locked`. Returns what there is to warn of when it is loaded.
    ///
    /// # Errors
    /// When it may not be loaded.
    pub fn admit(&self, host: &Host) -> Result<Option<String>, LoadError> {
        self.check(host)?;
        trust::admit(&self.identity, host).map_err(|e| LoadError { path: self.identity.path.clone(), reason: e.into() })
    }

    /// A copy in memory for the dynamic loader.
    ///
    /// # Errors
    /// When there is no room, or a limit is in the way.
    pub fn sealed_copy(&self) -> Result<File, Reason> {
        let name = self.identity.path.file_name().unwrap_or_default().as_bytes();
        sealed(&name[..name.len().min(LONGEST_NAME)], &self.bytes).map_err(Reason::Copy)
    }
}

/// Opens the file at `path` and reads it whole.
///
/// # Errors
/// When it is no file, or cannot be read.
pub fn read_file(path: &Path) -> Result<(File, Vec<u8>), Reason> {
    // A pipe would keep its reader waiting otherwise.
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Reason::NotAFile);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((file, bytes))
}

/// A file in memory that holds `bytes` for ever.
fn sealed(name: &[u8], bytes: &[u8]) -> io::Result<File> {
    let name = CString::new(name)?;
    let create = |flags| {
        // SAFETY: the name ends with a zero and outlives the call.
        let descriptor = unsafe { libc::memfd_create(name.as_ptr(), flags) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else has it.
        Ok(unsafe { File::from_raw_fd(descriptor) })
    };
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // Mapped, but never run as a program, which some systems forbid for such files; Linux before 6.3 does not know the difference.
    let mut file = create(flags | libc::MFD_NOEXEC_SEAL).or_else(|_| create(flags))?;
    beyond_file_limit(|| file.write_all(bytes))?;
    // F_SEAL_WRITE waits until the kernel itself has let go of every page and gives up with EBUSY after 150 ms, which happens on a busy machine.
    // It matters for pages that somebody has mapped or handed to a device, and nobody has: F_SEAL_FUTURE_WRITE forbids as much and does not wait.
    let seal = |write: libc::c_int| {
        let seals = write | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: the descriptor is open; the call touches no memory.
        if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    // Linux before 5.1 knows F_SEAL_WRITE alone.
    seal(libc::F_SEAL_FUTURE_WRITE).or_else(|_| seal(libc::F_SEAL_WRITE))?;
    Ok(file)
}

/// Does `work` without the soft limit on the size of files (`ulimit -f`): it is about disks, and holds for files in memory, too.
fn beyond_file_limit(work: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: fills in a structure of ours.
    if unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit) } < 0 {
        return work();
    }
    let set = |soft| {
        let limit = libc::rlimit { rlim_cur: soft, ..limit };
        // SAFETY: reads a structure of ours. It cannot fail: a process may set its soft limit to whatever is within the hard one.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) };
    };
    set(limit.rlim_max);
    let done = work();
    set(limit.rlim_cur);
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn what_is_sealed_cannot_be_changed() {
        let mut file = sealed(b"libx.so", b"code").unwrap();
        assert!(file.write_all(b"more").is_err() && file.set_len(0).is_err());
        let by_name = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        if let Ok(mut again) = OpenOptions::new().write(true).open(&by_name) {
            assert!(again.write_all(b"other").is_err());
        }
        assert_eq!(std::fs::read(by_name).unwrap(), b"code");
    }

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read_file(folder.path()), Err(Reason::NotAFile)));
        let pipe = folder.path().join("libpipe.so");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(matches!(read_file(&pipe), Err(Reason::NotAFile)));
    }
}
