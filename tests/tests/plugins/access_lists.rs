//! Access control lists: what others can write to by such a list is not loaded, although its mode may look as if it was the user's group's.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tests::artifact;
use tests::program::Bench;

const READ: u16 = 4;
const WRITE: u16 = 2;
const RUN: u16 = 1;

/// Gives `path` a list that allows `rights` to a user whom it names, as `setfacl` does: see `man 5 acl`. Whom it names is of no matter to
/// the host; our own number is known in every user namespace.
fn allow(path: &Path, rights: u16) -> io::Result<()> {
    let [owner, user, group, mask, other] = [0x01u16, 0x02, 0x04, 0x10, 0x20];
    const NOBODY: u32 = u32::MAX;
    // SAFETY: a question without preconditions.
    let us = unsafe { libc::geteuid() };
    let all = READ | WRITE | RUN;
    let entries =
        [(owner, all, NOBODY), (user, rights, us), (group, READ | RUN, NOBODY), (mask, rights, NOBODY), (other, READ | RUN, NOBODY)];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend([&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    let path = CString::new(path.as_os_str().as_bytes()).expect("no zero in a path");
    // SAFETY: both strings end with a zero, and `list` has as many bytes as are told.
    let set = unsafe { libc::setxattr(path.as_ptr(), c"system.posix_acl_access".as_ptr(), list.as_ptr().cast(), list.len(), 0) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A new folder whose file system has access control lists: below the target folder, else in memory.
fn folder() -> TempDir {
    let in_memory = || tempfile::tempdir_in("/dev/shm").ok();
    let mut candidates = [Some(artifact::folder()), in_memory()].into_iter().flatten();
    let takes_lists = |folder: &TempDir| allow(folder.path(), READ | RUN).is_ok();
    candidates.find(takes_lists).expect("the file system of the target folder, or /dev/shm, has access control lists")
}

fn library(folder: &Path) -> PathBuf {
    fs::create_dir(folder).expect("writable");
    let library = folder.join("libbrier.so");
    fs::copy(artifact::fixture("brier"), &library).expect("writable");
    library
}

#[test]
fn what_a_list_lets_others_write_to_is_refused() {
    let (bench, folder) = (Bench::new(), folder());
    let schema = |library: &Path| bench.run(&["plugin", "schema", library.to_str().expect("UTF-8")]);
    let refused = |library: &Path, what: &str| {
        let told = format!("{what}has an access control list that lets others write to it");
        schema(library).expect_refusal(&["libbrier.so", &told, "setfacl --remove-all "]);
    };

    let file = library(&folder.path().join("file"));
    schema(&file).expect_success();
    allow(&file, READ | RUN).expect("allowed before");
    schema(&file).expect_success();
    allow(&file, READ | WRITE).expect("allowed before");
    refused(&file, "libbrier.so: ");

    let inner = library(&folder.path().join("folder"));
    let above = inner.parent().expect("a folder");
    allow(above, READ | RUN).expect("allowed before");
    schema(&inner).expect_success();
    allow(above, READ | WRITE | RUN).expect("allowed before");
    refused(&inner, &format!("its folder {} ", above.display()));
}
