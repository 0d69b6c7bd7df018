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
        check_step(Step { path: "/x".into(), kind }, &rights, USER, other).map_or_else(|error| error.to_string(), |()| "fine".to_owned())
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
