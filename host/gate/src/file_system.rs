//! File systems that make up owners and modes: what they say of a file says nothing of who can write to it.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Types of such file systems (`linux/magic.h`, statfs(2)), in words. FUSE is among them since what is behind it decides, and cannot be asked.
const MADE_UP: [(u32, &str); 14] = [
    (0x4d44, "FAT"),
    (0x2011_bab0, "exFAT"),
    (0x5346_544e, "NTFS"),
    (0x7366_746e, "NTFS"),
    (0x6573_5546, "FUSE"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9p, as WSL mounts Windows folders"),
    (0x5346_4846, "a Windows folder in WSL"),
    (0x786f_4256, "a folder shared by VirtualBox"),
    (0x4244, "HFS"),
    (0x482b, "HFS+"),
    (0x9660, "ISO 9660"),
];

/// What the file system of `path` is, in words, if it makes up owners and modes.
pub(super) fn with_made_up_modes(path: &Path) -> Option<&'static str> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut found = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the path ends with a zero; the structure is ours.
    let asked = unsafe { libc::statfs(path.as_ptr(), found.as_mut_ptr()) };
    if asked != 0 {
        return None;
    }
    // SAFETY: filled in by the call.
    made_up(unsafe { found.assume_init() }.f_type as u32)
}

fn made_up(kind: u32) -> Option<&'static str> {
    MADE_UP.iter().find(|(known, _)| *known == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_known_by_their_type() {
        // ext4, XFS, Btrfs, ZFS, tmpfs, overlay, NFS, Lustre, Ceph, GPFS.
        for real in [0xef53, 0x5846_5342, 0x9123_683e, 0x2fc1_2fc1, 0x0102_1994, 0x794c_7630, 0x6969, 0x0bd0_0bd0, 0x00c3_6400, 0x4750_4653]
        {
            assert_eq!(made_up(real), None, "{real:#x}");
        }
        assert_eq!(made_up(0xff53_4d42), Some("CIFS"));
        assert_eq!(made_up(0x4d44), Some("FAT"));
        assert_eq!(with_made_up_modes(Path::new("/proc/self/no such file")), None);
    }
}
