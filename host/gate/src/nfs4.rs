//! Access control lists of NFSv4, as the kernel's NFS client shows them: the extended attribute `system.nfs4_acl` (RFC 7530, 6.2.1, in
//! XDR). Each entry allows or denies one `who` some rights; the first that decides a right counts.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The attribute.
const ATTRIBUTE: &CStr = c"system.nfs4_acl";
const ALLOW: u32 = 0;
const DENY: u32 = 1;
/// The entry is for what will be made in the folder, not for the folder.
const INHERIT_ONLY: u32 = 0x8;
/// `who` is a group.
const GROUP: u32 = 0x40;
/// Data and entries of a folder, by writing, appending and removing; and the list and the owner, by which one can allow oneself the rest.
const WRITE: u32 = 0x2 | 0x4 | 0x40 | 0x4_0000 | 0x8_0000;
/// Longer lists are taken for damaged ones.
const MOST_ENTRIES: u32 = 4096;

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct List(Vec<Entry>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    kind: u32,
    flags: u32,
    rights: u32,
    who: String,
}

/// Somebody whom a list lets write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// Everybody.
    Everybody,
    /// The file's own group.
    Group,
    /// A user or a group by name.
    Named(String),
}

/// What the file system says of `path`: no list, a list, or one that cannot be read.
pub(super) fn read(path: &Path) -> Option<Result<List, ()>> {
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut bytes = vec![0u8; 1 << 16];
    // SAFETY: both strings end with a zero, and so many bytes are writable.
    let length = unsafe { libc::getxattr(path.as_ptr(), ATTRIBUTE.as_ptr(), bytes.as_mut_ptr().cast(), bytes.len()) };
    if length < 0 {
        let error = std::io::Error::last_os_error().raw_os_error();
        // File systems without such lists know no such attribute.
        return if matches!(error, Some(libc::ENODATA | libc::EOPNOTSUPP)) { None } else { Some(Err(())) };
    }
    bytes.truncate(length as usize);
    Some(List::parse(&bytes).ok_or(()))
}

impl List {
    /// Reads a list from its XDR form.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &mut &[u8]| {
            let (number, rest) = bytes.split_first_chunk::<4>()?;
            *bytes = rest;
            Some(u32::from_be_bytes(*number))
        };
        let count = number(&mut bytes).filter(|count| *count <= MOST_ENTRIES)?;
        let mut entries = Vec::new();
        for _ in 0..count {
            let [kind, flags, rights, length] = [number(&mut bytes)?, number(&mut bytes)?, number(&mut bytes)?, number(&mut bytes)?];
            let (who, rest) = bytes.split_at_checked(length as usize)?;
            // Filled up to four bytes.
            bytes = rest.split_at_checked((length as usize).next_multiple_of(4) - length as usize)?.1;
            entries.push(Entry { kind, flags, rights, who: str::from_utf8(who).ok()?.to_owned() });
        }
        Some(Self(entries))
    }

    /// The first whom the list lets write, besides the owner, root and the user of this name or number.
    pub(super) fn writer(&self, user: u32, name: Option<&str>) -> Option<Writer> {
        let mut denied: HashMap<(&str, bool), u32> = HashMap::new();
        for Entry { kind, flags, rights, who } in self.0.iter().filter(|entry| entry.flags & INHERIT_ONLY == 0) {
            let is_group = flags & GROUP != 0 && who != "GROUP@";
            let before = |denied: &HashMap<(&str, bool), u32>, key| denied.get(&key).copied().unwrap_or(0);
            match *kind {
                DENY => *denied.entry((who, is_group)).or_default() |= rights,
                ALLOW => {
                    let taken = before(&denied, (who, is_group)) | before(&denied, ("EVERYONE@", false));
                    let (person, is_own) = (who.split('@').next().unwrap_or_default(), who.starts_with("OWNER@"));
                    let is_known = !is_group
                        && (is_own
                            || ["root", "0"].contains(&person)
                            || person == user.to_string()
                            || name == Some(person) && !person.is_empty());
                    if rights & WRITE & !taken != 0 && !is_known {
                        return Some(match who.as_str() {
                            "EVERYONE@" => Writer::Everybody,
                            "GROUP@" => Writer::Group,
                            _ if is_group => Writer::Named(format!("group {who}")),
                            _ => Writer::Named(format!("user {who}")),
                        });
                    }
                }
                // Audits and alarms allow nothing.
                _ => {}
            }
        }
        None
    }

    /// Makes a list of entries `(type, flags, rights, who)`.
    #[cfg(test)]
    pub(super) fn of(entries: &[(u32, u32, u32, &str)]) -> Self {
        let entry = |&(kind, flags, rights, who): &(u32, u32, u32, &str)| Entry { kind, flags, rights, who: who.to_owned() };
        Self(entries.iter().map(entry).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u32 = 0x1;
    const ALL: u32 = 0x1f_01ff;

    fn xdr(list: &List) -> Vec<u8> {
        let mut bytes = (list.0.len() as u32).to_be_bytes().to_vec();
        for Entry { kind, flags, rights, who } in &list.0 {
            [*kind, *flags, *rights, who.len() as u32].iter().for_each(|number| bytes.extend(number.to_be_bytes()));
            bytes.extend(who.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn lists_are_read_or_refused() {
        // What a server of Linux says of mode 755: A::OWNER@:…, A:g:GROUP@:rxtncy, A::EVERYONE@:rxtncy.
        let usual = List::of(&[(0, 0, ALL, "OWNER@"), (0, GROUP, 0x12_00a9, "GROUP@"), (0, 0, 0x12_00a9, "EVERYONE@")]);
        let bytes = xdr(&usual);
        assert_eq!(List::parse(&bytes), Some(usual));
        for length in 0..bytes.len() {
            assert!(List::parse(&bytes[..length]).is_none(), "{length}");
        }
        for bytes in [&[0xff; 64][..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 2, 0xff, 0xfe, 0, 0]] {
            assert!(List::parse(bytes).is_none());
        }
    }

    #[test]
    fn only_what_lets_others_write_counts() {
        let writer = |entries: &[(u32, u32, u32, &str)]| List::of(entries).writer(1000, Some("alice"));
        let named = |who: &str| Some(Writer::Named(who.to_owned()));
        let read_only = [(0, 0, ALL, "OWNER@"), (0, GROUP, 0x12_00a9, "GROUP@"), (0, 0, 0x12_00a9, "EVERYONE@")];
        assert_eq!(writer(&read_only), None);
        for own in ["OWNER@", "root@example.org", "0", "1000", "alice@example.org", "alice"] {
            assert_eq!(writer(&[(0, 0, ALL, own)]), None, "{own}");
        }
        assert_eq!(writer(&[(0, 0, 0x2, "EVERYONE@")]), Some(Writer::Everybody));
        assert_eq!(writer(&[(0, GROUP, 0x4, "GROUP@")]), Some(Writer::Group));
        assert_eq!(writer(&[(0, 0, 0x40, "bob@example.org")]), named("user bob@example.org"));
        assert_eq!(writer(&[(0, GROUP, 0x2, "lab@example.org")]), named("group lab@example.org"));
        // A group of that name is not the user.
        assert_eq!(writer(&[(0, GROUP, 0x2, "alice@example.org")]), named("group alice@example.org"));
        // Who may change the list may allow himself the rest.
        for right in [0x4_0000, 0x8_0000] {
            assert_eq!(writer(&[(0, 0, right, "1001")]), named("user 1001"));
        }
        // What was denied before is not allowed; what is inherited only is not here; what is read harms nobody.
        assert_eq!(writer(&[(1, 0, WRITE, "EVERYONE@"), (0, 0, ALL, "bob")]), None);
        assert_eq!(writer(&[(1, 0, WRITE, "bob"), (0, 0, ALL, "bob"), (0, 0, READ, "EVERYONE@")]), None);
        assert_eq!(writer(&[(0, 0, ALL, "bob"), (1, 0, WRITE, "bob")]), named("user bob"));
        assert_eq!(writer(&[(1, 0, 0x2, "bob"), (0, 0, ALL, "bob")]), named("user bob"));
        assert_eq!(writer(&[(0, INHERIT_ONLY, ALL, "EVERYONE@"), (2, 0, ALL, "EVERYONE@")]), None);
    }
}
