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
//! File systems that make up owners and modes ([`file_system`]) are not asked: of what lies there, it is said that nothing is known.

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
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    const USER: u32 = 1000;
    const PRIVATE: u32 = 1000;
    const SHARED: u32 = 100;

    /// What is said of a step with these rights; in SHARED there is somebody else.
    fn verdict(kind: StepKind, owner: u32, group: u32, mode: u32) -> String {
        let step = Step { path: "/x y/z".into(), kind };
        let rights = Rights { owner, group, mode, listed: false, list: None, made_up: None };
        let other = |group| (group == SHARED).then(|| "bob".to_owned());
        check_step(step, &rights, USER, other).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn whose_it_is() {
        for kind in [StepKind::File, StepKind::Folder, StepKind::Link] {
            assert_eq!(verdict(kind, USER, PRIVATE, 0o755), "fine");
            assert_eq!(verdict(kind, 0, 0, 0o755), "fine");
            let refused = verdict(kind, 1001, PRIVATE, 0o755);
            assert!(refused.contains("belongs to user 1001, you are user 1000") && refused.contains("chown 1000 '/x y/z'"), "{refused}");
        }
        // Others may not have a folder of their own even in /tmp.
        assert_ne!(verdict(StepKind::Folder, 1001, 0, 0o1777), "fine");
    }

    #[test]
    fn who_may_write() {
        for kind in [StepKind::File, StepKind::Folder] {
            let refused = verdict(kind, USER, PRIVATE, 0o777);
            assert!(refused.contains("writable for everybody (mode 777)") && refused.contains("chmod go-w '/x y/z'"), "{refused}");
            assert_eq!(verdict(kind, USER, PRIVATE, 0o775), "fine");
            let refused = verdict(kind, USER, SHARED, 0o775);
            assert!(refused.contains("writable for group 100 and so for bob"), "{refused}");
            assert_eq!(verdict(kind, USER, SHARED, 0o755), "fine");
        }
        assert_eq!(verdict(StepKind::Folder, 0, 0, 0o1777), "fine");
        assert_ne!(verdict(StepKind::File, USER, PRIVATE, 0o1777), "fine");
        assert_eq!(verdict(StepKind::Link, USER, SHARED, 0o777), "fine");
        let listed = Rights { owner: USER, group: PRIVATE, mode: 0o775, listed: true, list: None, made_up: None };
        let refused = check_step(Step { path: "/x".into(), kind: StepKind::File }, &listed, USER, |_| None).unwrap_err().to_string();
        assert!(refused.contains("setfacl --remove-all /x"), "{refused}");
    }

    #[test]
    fn a_list_of_nfs4_decides_where_there_is_one() {
        let verdict = |kind, mode, list: Result<nfs4::List, ()>| {
            let rights = Rights { owner: USER, group: SHARED, mode, listed: false, list: Some(list), made_up: None };
            let other = |group| (group == SHARED).then(|| "bob".to_owned());
            check_step(Step { path: "/x".into(), kind }, &rights, USER, other)
                .map_or_else(|error| error.to_string(), |()| "fine".to_owned())
        };
        const ALL: u32 = 0x1f_01ff;
        const READ: u32 = 0x12_0081;
        let list = |entries: &[(u32, u32, u32, &str)]| Ok(nfs4::List::of(entries));
        for kind in [StepKind::File, StepKind::Folder] {
            assert_eq!(verdict(kind, 0o755, list(&[(0, 0, ALL, "OWNER@"), (0, 0x40, READ, "GROUP@"), (0, 0, READ, "EVERYONE@")])), "fine");
            assert_eq!(verdict(kind, 0o755, list(&[(0, 0, READ, "bob@lab"), (0, 0, ALL, "root@lab")])), "fine");
            let refused = verdict(kind, 0o755, list(&[(0, 0, ALL, "bob@lab")]));
            assert!(refused.contains("(NFSv4) by which user bob@lab can write") && refused.contains("nfs4_setfacl /x"), "{refused}");
            assert!(verdict(kind, 0o755, list(&[(0, 0x40, ALL, "lab@lab")])).contains("group lab@lab"));
            assert!(verdict(kind, 0o775, list(&[(0, 0x40, ALL, "GROUP@")])).contains("group 100, and so bob,"));
            assert!(verdict(kind, 0o755, Err(())).contains("in a way unknown here"));
        }
        assert_ne!(verdict(StepKind::File, 0o777, list(&[])), "fine");
    }

    #[test]
    fn of_file_systems_that_make_up_modes_nothing_is_known() {
        let installed = Installed::new();
        let steps = |number: usize, mode| {
            let mut steps = installed.steps(&installed.link);
            steps[number].1 = Rights { owner: 4711, mode, made_up: Some("CIFS"), ..steps[number].1.clone() };
            steps
        };
        for number in 0..installed.steps(&installed.link).len() {
            for mode in [0o700, 0o755, 0o777] {
                let unknown = judge(steps(number, mode), installed.user(), |_| None).expect("nobody is known").expect("but one is unknown");
                assert_eq!((unknown.file_system, unknown.step.path), ("CIFS", installed.steps(&installed.link)[number].0.path.clone()));
            }
        }
        assert!(judge(installed.steps(&installed.link), installed.user(), |_| None).is_ok_and(|unknown| unknown.is_none()));
        // The others are judged all the same.
        let mut mixed = steps(0, 0o755);
        mixed[1].1.mode = 0o777;
        assert!(judge(mixed, installed.user(), |_| None).is_err());
    }

    /// A library and a link to it in another folder. What is above them, and the umask, is the machine's affair.
    struct Installed {
        folder: tempfile::TempDir,
        link: PathBuf,
    }

    impl Installed {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let installed = Self { link: folder.path().join("open/link"), folder };
            for folder in [installed.real(), installed.open()] {
                std::fs::create_dir(&folder).unwrap();
                mode(&folder, 0o755);
            }
            std::fs::write(installed.file(), "").unwrap();
            mode(&installed.file(), 0o644);
            symlink("../real/file", &installed.link).unwrap();
            installed
        }

        fn real(&self) -> PathBuf {
            self.folder.path().join("real")
        }

        fn open(&self) -> PathBuf {
            self.folder.path().join("open")
        }

        fn file(&self) -> PathBuf {
            self.real().join("file")
        }

        /// Who runs this test.
        fn user(&self) -> u32 {
            std::fs::metadata(self.file()).unwrap().uid()
        }

        /// What is passed on the way to `path`, from these two folders on, without the access control lists that a folder above may hand down.
        fn steps(&self, path: &Path) -> Vec<(Step, Rights)> {
            let mut steps = steps(path, &File::open(path).unwrap()).unwrap();
            let ours = [self.real(), self.open()].map(|folder| folder.canonicalize().unwrap());
            steps.retain(|(step, _)| step.kind == StepKind::File || ours.iter().any(|folder| step.path.starts_with(folder)));
            steps.iter_mut().for_each(|(_, rights)| rights.listed = false);
            steps
        }

        fn verdict(&self, path: &Path) -> Result<(), String> {
            judge(self.steps(path), self.user(), |_| None).map(drop).map_err(|error| error.to_string())
        }
    }

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }

    #[test]
    fn every_step_of_the_way_counts() {
        let installed = Installed::new();
        let (folder, file, link) = (installed.folder.path().canonicalize().unwrap(), installed.file(), &installed.link);
        let steps = |path: &Path| installed.steps(path).into_iter().map(|(step, _)| (step.path, step.kind)).collect::<Vec<_>>();
        let (real, open) = (folder.join("real"), folder.join("open"));
        let passed = [(open.clone(), StepKind::Folder), (open.join("link"), StepKind::Link), (real, StepKind::Folder)];
        assert_eq!(steps(link)[1..], passed);
        assert_eq!(steps(&file)[1..], passed[2..]);
        let above = super::steps(link, &File::open(link).unwrap()).unwrap();
        assert!(folder.ancestors().all(|folder| above.iter().any(|(step, _)| step.path == folder)), "{above:?}");
        installed.verdict(link).unwrap();

        mode(&open, 0o777);
        installed.verdict(&file).unwrap();
        let refused = installed.verdict(link).unwrap_err();
        assert!(refused.contains(&format!("its folder {} is writable for everybody", open.display())), "{refused}");
        mode(&open, 0o1777);
        installed.verdict(link).unwrap();
        mode(&file, 0o666);
        assert!(installed.verdict(link).unwrap_err().starts_with("is writable for everybody (mode 666)"));

        mode(&file, 0o664);
        let group = std::fs::metadata(&file).unwrap().gid();
        let refused = judge(installed.steps(link), installed.user(), |other| (other == group).then(|| "bob".to_owned())).unwrap_err();
        assert!(refused.to_string().starts_with(&format!("is writable for group {group} and so for bob")), "{refused}");

        symlink("loop", folder.join("loop")).unwrap();
        assert_eq!(way(&folder.join("loop")).unwrap_err().raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn every_step_of_the_way_belongs_to_the_user_or_to_root() {
        let installed = Installed::new();
        let (user, steps) = (installed.user(), installed.steps(&installed.link));
        let other = user + 1;
        let refused = |steps: Vec<(Step, Rights)>, user| judge(steps, user, |_| None).map(drop).map_err(|error| error.to_string());
        for number in 0..steps.len() {
            let given = |owner| {
                let mut steps = steps.clone();
                steps[number].1.owner = owner;
                steps
            };
            let Step { path, kind } = &steps[number].0;
            let what = match kind {
                StepKind::File => String::new(),
                StepKind::Folder => format!("its folder {} ", path.display()),
                StepKind::Link => format!("the link {} to it ", path.display()),
            };
            let error = refused(given(other), user).unwrap_err();
            assert!(error.starts_with(&format!("{what}belongs to user {other}, you are user {user}, ")), "{error}");
            assert!(error.contains(&format!("sudo chown {user} {}", quoted(path))), "{error}");
            assert_eq!(refused(given(0), user), Ok(()), "root's {what}");
        }
        // To another user, what is ours is another one's, unless it is root's.
        assert_eq!(refused(steps, other).is_err(), user != 0);
    }
}
