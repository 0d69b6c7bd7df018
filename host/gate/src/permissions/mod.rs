//! Who else can write to a file. A plugin runs with the user's rights, so nobody else may.
//!
//! The rules are those that ssh has for its keys (`StrictModes`), and they cover the way to the file, too: whoever can write to a folder can
//! put another file in the place of any in it. The file, every folder above it and every symbolic link that leads to it
//! - belong to the user or to root,
//! - are not writable for everybody,
//! - are not writable for a group that somebody else is in, nor for anybody else by an access control list, of POSIX or of NFSv4.
//!
//! A folder with the sticky bit, such as /tmp, may be writable for others: in it only the owner of an entry can rename or remove it, and whose
//! the entry is has just been said. Since nobody else can then change a step of the way, the path that is walked leads to the file that was
//! opened, whichever came first.
//!
//! File systems that make up owners and modes (`file_system`) are not asked: of what lies there, it is said that nothing is known.

use super::accounts::{other_member, user_name};
use super::file_system;
use super::nfs4::{self, Writer};
use super::shell::quoted;
use std::collections::HashMap;
use std::ffi::{CString, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Symbolic links on the way to a file; the kernel follows as many.
const MOST_LINKS: usize = 40;
const EVERYBODY: u32 = 0o002;
const GROUP: u32 = 0o020;
const STICKY: u32 = 0o1000;

/// Why it cannot be said that nobody else can write to a file.
#[derive(Debug, thiserror::Error)]
pub enum PermissionError {
    /// A step of the way cannot be looked at.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another user's.
    #[error("{step}belongs to user {owner}, you are user {user}, and whoever owns it decides what runs with your rights; take it over (sudo chown {user} {}), or use a copy of your own", quoted(&step.path))]
    Owner {
        /// What it is.
        step: Step,
        /// Its owner.
        owner: u32,
        /// Who is asking.
        user: u32,
    },
    /// Others can write to it.
    #[error("{step}is writable for {writer}, who could change what runs with your rights; allow it to yourself alone: chmod go-w {}", quoted(&step.path))]
    Writable {
        /// What it is.
        step: Step,
        /// Who, in words.
        writer: String,
    },
    /// Users whom a list of NFSv4 names can write to it.
    #[error("{step}has an access control list (NFSv4) by which {writer} can write to it, and could change what runs with your rights; allow it to yourself alone: nfs4_getfacl and nfs4_setfacl {}", quoted(&step.path))]
    Listed {
        /// What it is.
        step: Step,
        /// Who, in words.
        writer: String,
    },
    /// Users that the mode does not show may be able to write to it.
    #[error("{step}has an access control list that lets others write to it, who could change what runs with your rights; take it away: setfacl --remove-all {}", quoted(&step.path))]
    List {
        /// What it is.
        step: Step,
    },
}

/// A step of the way to a file.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: StepKind,
}

/// What a step of the way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// The file itself.
    File,
    /// A folder above it, or above a link to it.
    Folder,
    /// A symbolic link.
    Link,
}

impl std::fmt::Display for Step {
    /// To be followed by a verb; whose file it is was said before.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            StepKind::File => Ok(()),
            StepKind::Folder => write!(f, "its folder {} ", self.path.display()),
            StepKind::Link => write!(f, "the link {} to it ", self.path.display()),
        }
    }
}

/// What a file system says of who can write to a file, where it does not know itself.
#[derive(Clone, Debug)]
pub struct Unknown {
    /// The first step of the way that lies on it.
    pub step: Step,
    /// What it is.
    pub file_system: &'static str,
}

/// Refuses `file`, which was opened by `path`, if somebody else can write to it or to a step of the way. Of steps on file systems that make up
/// owners and modes nothing is known; the first one is returned.
pub fn check(path: &Path, file: &File) -> Result<Option<Unknown>, PermissionError> {
    // SAFETY: always succeeds, touches no memory.
    let user = unsafe { libc::geteuid() };
    let mut known = HashMap::new();
    judge(steps(path, file)?, user, |group| known.entry(group).or_insert_with(|| other_member(group, user)).clone())
}

/// The file and every step of the way to it, with what the file system says of each.
fn steps(path: &Path, file: &File) -> Result<Vec<(Step, Rights)>, PermissionError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PermissionError::Io { path, source }
    };
    let step = |path: &Path, kind, metadata: &Metadata| {
        let (owner, group, mode) = (metadata.uid(), metadata.gid(), metadata.mode());
        let listed = kind != StepKind::Link && mode & GROUP != 0 && has_access_list(path);
        let list = if kind == StepKind::Link { None } else { nfs4::read(path) };
        // A link lies where its folder does.
        let place = if kind == StepKind::Link { path.parent().unwrap_or(path) } else { path };
        let made_up = file_system::with_made_up_modes(place);
        (Step { path: path.to_owned(), kind }, Rights { owner, group, mode, listed, list, made_up })
    };
    let mut steps = vec![step(path, StepKind::File, &file.metadata().map_err(failed(path))?)];
    let path = std::path::absolute(path).map_err(failed(path))?;
    for (path, kind) in way(&path).map_err(failed(&path))? {
        let metadata = std::fs::symlink_metadata(&path).map_err(failed(&path))?;
        steps.push(step(&path, kind, &metadata));
    }
    Ok(steps)
}

/// Refuses the first of `steps` that somebody else than `user` and root can write to, and returns the first of which that cannot be said.
/// `other_member` names somebody else in a group, if there is anybody.
fn judge(
    steps: impl IntoIterator<Item = (Step, Rights)>,
    user: u32,
    mut other_member: impl FnMut(u32) -> Option<String>,
) -> Result<Option<Unknown>, PermissionError> {
    let mut unknown = None;
    for (step, rights) in steps {
        match rights.made_up {
            Some(file_system) => drop(unknown.get_or_insert(Unknown { step, file_system })),
            None => check_step(step, &rights, user, &mut other_member)?,
        }
    }
    Ok(unknown)
}

/// What a file system says of a step.
#[derive(Clone, Debug)]
struct Rights {
    owner: u32,
    group: u32,
    mode: u32,
    /// Whether it has an access control list; the group's bits of its mode are then what the list allows at most.
    listed: bool,
    /// Its list of NFSv4; an error where that cannot be read.
    list: Option<Result<nfs4::List, ()>>,
    /// What the file system is, if it makes all of this up.
    made_up: Option<&'static str>,
}

/// The rules. `other_member` names somebody else in a group, if there is anybody.
fn check_step(step: Step, rights: &Rights, user: u32, other_member: impl FnOnce(u32) -> Option<String>) -> Result<(), PermissionError> {
    let Rights { owner, group, mode, listed, ref list, .. } = *rights;
    if owner != user && owner != 0 {
        return Err(PermissionError::Owner { step, owner, user });
    }
    // The mode of a link means nothing.
    if step.kind == StepKind::Link || (step.kind == StepKind::Folder && mode & STICKY != 0) {
        return Ok(());
    }
    if mode & EVERYBODY != 0 {
        return Err(PermissionError::Writable { step, writer: format!("everybody (mode {:03o})", mode & 0o777) });
    }
    let group_words = |member: String| format!("group {group} and so for {member}");
    match list {
        None => {}
        Some(Err(())) => return Err(PermissionError::Listed { step, writer: "users that it names in a way unknown here".to_owned() }),
        Some(Ok(list)) => {
            // The mode says of such a file what the list lets owner, group and all others do, and nothing of users that the list names.
            let writer = match list.writer(user, user_name(user).as_deref()) {
                None => return Ok(()),
                Some(Writer::Everybody) => "everybody".to_owned(),
                Some(Writer::Named(name)) => name,
                Some(Writer::Group) => match other_member(group) {
                    None => return Ok(()),
                    Some(member) => format!("group {group}, and so {member},"),
                },
            };
            return Err(PermissionError::Listed { step, writer });
        }
    }
    if mode & GROUP == 0 {
        return Ok(());
    }
    if listed {
        return Err(PermissionError::List { step });
    }
    match other_member(group) {
        Some(member) => Err(PermissionError::Writable { step, writer: group_words(member) }),
        None => Ok(()),
    }
}

/// Every folder and every link that the kernel passes on its way to `path`, from the root on.
fn way(path: &Path) -> io::Result<Vec<(PathBuf, StepKind)>> {
    let mut at = PathBuf::from("/");
    let mut passed = vec![(at.clone(), StepKind::Folder)];
    let mut ahead: Vec<OsString> = Vec::new();
    let push = |ahead: &mut Vec<OsString>, path: &Path| {
        ahead.extend(
            path.components()
                .rev()
                .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
                .map(|part| part.as_os_str().to_owned()),
        );
    };
    push(&mut ahead, path);
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(name);
        let kind = std::fs::symlink_metadata(&next)?.file_type();
        if kind.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            let target = std::fs::read_link(&next)?;
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            push(&mut ahead, &target);
            passed.push((next, StepKind::Link));
            continue;
        }
        at = next;
        if kind.is_dir() {
            passed.push((at.clone(), StepKind::Folder));
        }
    }
    Ok(passed)
}

/// Whether the file system has more to say about `path` than its mode. One that knows no such lists has none.
fn has_access_list(path: &Path) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: both strings end with a zero; nothing is written, since the size of the buffer is 0.
    unsafe { libc::getxattr(path.as_ptr(), c"system.posix_acl_access".as_ptr(), std::ptr::null_mut(), 0) >= 0 }
}

#[cfg(test)]
mod tests;
