//! libtorch from PyPI: into a cache folder that all clones share, then linked to `.libtorch`, where `.cargo/config.toml` points.
//!
//! ```text
//! pip ─→ <cache>/libtorch-X.partial-PID/packages ─ check ─ marker ─ rename ─→ <cache>/libtorch-X ←─ link ─ <clone>/.libtorch
//! ```
//! What lies at the last name is whole at any moment, so set-up may be killed and started again; a lock keeps two of them
//! from downloading at once. A whole folder without the marker (made by hand) is checked and adopted.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::{check, tools, workspace};

/// The version that tch 0.26 is made for.
pub const VERSION: &str = "2.13.0";

/// Written last into a whole folder; holds the packages' versions, so that a change of these makes it look anew.
const MARKER: &str = "installed-by-setup";

/// What is installed beside the library itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// What the CPU part loads.
    Cpu,
    /// All that NVIDIA GPUs need.
    Cuda,
}

impl Variant {
    fn folder_name(self) -> String {
        let suffix = if self == Self::Cuda { "-cuda" } else { "" };
        format!("libtorch-{VERSION}{suffix}")
    }

    /// The packages asked of pip, with their versions. PyPI's torch is built for CUDA: even its CPU part is linked to the two
    /// of NVIDIA. For GPUs pip resolves the rest from torch's own list.
    pub fn packages(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Cpu => &[("torch", VERSION), ("nvidia-cuda-runtime", "13.0.96"), ("nvidia-cuda-cupti", "13.0.85")],
            Self::Cuda => &[("torch", VERSION)],
        }
    }

    /// On disk.
    fn size(self) -> &'static str {
        match self {
            Self::Cpu => "1.2 GB",
            Self::Cuda => "4.5 GB",
        }
    }

    /// The library that needs all the others.
    pub fn library(self) -> &'static str {
        match self {
            Self::Cpu => "libtorch_cpu.so",
            Self::Cuda => "libtorch_cuda.so",
        }
    }

    fn requirements(self) -> Vec<String> {
        self.packages().iter().map(|(name, version)| format!("{name}=={version}")).collect()
    }

    fn marker(self) -> String {
        self.requirements().join("\n") + "\n"
    }
}

/// The user's own libtorch: a LIBTORCH other than the one that `.cargo/config.toml` sets for every program that cargo runs.
pub fn given() -> Option<PathBuf> {
    let value = std::env::var_os("LIBTORCH").filter(|value| !value.is_empty())?;
    Some(PathBuf::from(value)).filter(|path| *path != link_path().join("torch"))
}

fn link_path() -> PathBuf {
    workspace::root().join(".libtorch")
}

/// Makes `.libtorch` lead to a whole libtorch; does nothing where it does already, or where the user brings one.
/// Without a `variant` any that is linked will do.
pub fn install(variant: Option<Variant>) -> Result<(), Error> {
    if let Some(torch) = given() {
        eprintln!("setup: using your LIBTORCH at {}", torch.display());
        return check::version(&torch).map_err(|reason| Error::Incomplete {
            folder: torch,
            reason,
            hint: "point LIBTORCH to one, or unset it and set-up installs one",
        });
    }
    let link = link_path();
    if variant.is_none() && [Variant::Cpu, Variant::Cuda].iter().any(|variant| is_marked(&link, *variant)) {
        return Ok(());
    }
    let variant = variant.unwrap_or(Variant::Cpu);
    let folder = cache_folder()?.join(variant.folder_name());
    provide(&folder, variant)?;
    point(&link, &folder)
}

/// `${XDG_CACHE_HOME:-~/.cache}/trainer-host`. A relative XDG_CACHE_HOME is invalid by its specification, and ignored.
fn cache_folder() -> Result<PathBuf, Error> {
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    Ok(base.ok_or(Error::NoCache)?.join("trainer-host"))
}

fn is_marked(folder: &Path, variant: Variant) -> bool {
    fs::read_to_string(folder.join(MARKER)).is_ok_and(|text| text == variant.marker())
}

/// Makes `folder` a whole libtorch, under a lock that the system releases however this program ends.
fn provide(folder: &Path, variant: Variant) -> Result<(), Error> {
    let cache = folder.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(cache).map_err(Error::io("cannot create", cache))?;
    let path = with_suffix(folder, ".lock");
    let lock = File::create(&path).map_err(Error::io("cannot create", &path))?;
    if lock.try_lock().is_err() {
        eprintln!("setup: waiting for another set-up (it holds {})", path.display());
        lock.lock().map_err(Error::io("cannot lock", &path))?;
    }
    if is_marked(folder, variant) {
        return Ok(());
    }
    supported_machine()?;
    tools::check_python()?;
    if folder.exists() {
        match check::packages(folder, variant) {
            Ok(()) => return finish(folder, variant),
            Err(reason) => eprintln!("setup: {} is not whole ({reason}); installing it again", folder.display()),
        }
    }
    remove_leftovers(folder)?;
    let work = with_suffix(folder, &format!(".partial-{}", std::process::id()));
    let result = download(folder, &work, variant);
    // What is left there, or all of it after an error; a failure to tidy up must not hide that error.
    let _ = fs::remove_dir_all(&work);
    result
}

/// Installs into `work`, checks, and renames to `folder`.
fn download(folder: &Path, work: &Path, variant: Variant) -> Result<(), Error> {
    let (packages, temporary) = (work.join("packages"), work.join("tmp"));
    fs::create_dir_all(&temporary).map_err(Error::io("cannot create", &temporary))?;
    eprintln!("setup: libtorch {VERSION} from PyPI into {} ({}, once for all clones)", folder.display(), variant.size());
    pip(&packages, &temporary, variant)?;
    check::packages(&packages, variant).map_err(|reason| Error::Incomplete {
        folder: packages.clone(),
        reason,
        hint: "pip reported success, so try again, or set LIBTORCH to a copy of your own",
    })?;
    finish(&packages, variant)?;
    if folder.exists() {
        let broken = work.join("broken");
        fs::rename(folder, &broken).map_err(Error::io("cannot move away", folder))?;
    }
    fs::rename(&packages, folder).map_err(Error::io("cannot rename into place", folder))
}

/// Writes what the wheel lacks and the bindings' build script reads, and then the marker.
fn finish(folder: &Path, variant: Variant) -> Result<(), Error> {
    for (name, text) in [("torch/build-version", format!("{VERSION}\n")), (MARKER, variant.marker())] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(Error::io("cannot write", &path))?;
    }
    Ok(())
}

/// Folders of set-ups that were killed. None is running now: it would hold the lock.
fn remove_leftovers(folder: &Path) -> Result<(), Error> {
    let cache = folder.parent().unwrap_or(Path::new("/"));
    let prefix = with_suffix(folder, ".partial-");
    let prefix = prefix.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in fs::read_dir(cache).map_err(Error::io("cannot list", cache))?.flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix) {
            fs::remove_dir_all(entry.path()).map_err(Error::io("cannot remove", &entry.path()))?;
        }
    }
    Ok(())
}

fn pip(packages: &Path, temporary: &Path, variant: Variant) -> Result<(), Error> {
    let mut command = Command::new(tools::python());
    command.args(["-m", "pip", "install", "--no-compile", "--only-binary=:all:", "--target"]).arg(packages);
    // The wheel of one fixed Python: the libraries in it are the same, and this machine's may be too old or too new to have one.
    command.args(["--implementation", "cp", "--python-version", "3.11"]);
    for tag in platform_tags(std::env::consts::ARCH) {
        command.args(["--platform", &tag]);
    }
    if variant == Variant::Cpu {
        command.arg("--no-deps");
    }
    command.args(variant.requirements());
    // `--target` touches no Python installation, so settings that guard those do not apply; proxies, mirrors and
    // certificates of the user's configuration stay.
    command.env("PIP_USER", "0").env("PIP_REQUIRE_VIRTUALENV", "0").env("PIP_ROOT_USER_ACTION", "ignore");
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    // pip unpacks there first: on the same file system, where the space is (/tmp may be in memory).
    command.env("TMPDIR", temporary);
    let status = command.status().map_err(|error| Error::Install { status: error.to_string() })?;
    if status.success() { Ok(()) } else { Err(Error::Install { status: status.to_string() }) }
}

/// What the wheels may be built for: torch wants glibc 2.28, the others less. Old pips do not know that one implies the other.
fn platform_tags(architecture: &str) -> Vec<String> {
    let modern = (17..=28).rev().map(|minor| format!("manylinux_2_{minor}_{architecture}"));
    modern.chain([format!("manylinux2014_{architecture}")]).collect()
}

fn supported_machine() -> Result<(), Error> {
    if cfg!(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))) {
        return Ok(());
    }
    Err(Error::Machine { found: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH) })
}

/// Makes `link` a symbolic link to `folder`. Replaced by a rename: a compiler that runs meanwhile always finds one of the two.
fn point(link: &Path, folder: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(link) {
        Ok(found) if !found.is_symlink() => {
            return Err(Error::LinkTaken { path: link.to_owned() });
        }
        Ok(_) if fs::read_link(link).is_ok_and(|target| target == folder) => return Ok(()),
        _ => {}
    }
    let fresh = with_suffix(link, &format!(".{}", std::process::id()));
    std::os::unix::fs::symlink(folder, &fresh).map_err(Error::io("cannot create", &fresh))?;
    fs::rename(&fresh, link).map_err(Error::io("cannot replace", link))?;
    eprintln!("setup: linked {} to {}", link.display(), folder.display());
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or(OsStr::new("")).to_owned();
    name.push(suffix);
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Output, Stdio};

    use super::*;

    /// A new folder, which is removed when it is dropped. It lies below the target folder: there programs can be run, whatever TMPDIR is.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let test = std::env::current_exe().unwrap();
            let target = test.ancestors().nth(3).unwrap();
            let folder = target.join("tmp").join(format!("setup-libtorch-{name}-{}", std::process::id()));
            // Of a test that was killed, when another process had this number.
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn join(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Names of what is in `folder`, sorted.
    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Stands in for Python and its pip: installs packages of a few bytes, and says so in a file. `$AT` is where something else happens: `half` and
    /// `check` kill set-up when half of the packages are written, and when all are and it looks at them; `wait` waits for a line; `fail` fails;
    /// `cut` leaves a file that is too short.
    const PYTHON: &str = r##"#!/bin/sh
case "$1 $2 $AT" in
    "-c "*ctypes*" check") kill -KILL $PPID; exit 1 ;;
    "-m pip "*) ;;
    *) exit 0 ;;
esac
[ "$3" = install ] || exit 0
echo installing >> "$CALLS"
[ "$AT" = fail ] && exit 1
if [ "$AT" = wait ]; then echo "pip waits" >&2; read -r line; fi
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/torch/lib" "$2/torch/include/torch/headeronly"
cd "$2" || exit 1
version=@VERSION@
minor=${version#*.}
{
    echo "#define TORCH_VERSION_MAJOR ${version%%.*}"
    echo "#define TORCH_VERSION_MINOR ${minor%.*}"
    echo "#define TORCH_VERSION_PATCH ${minor#*.}"
} > torch/include/torch/headeronly/version.h
if [ "$AT" = half ]; then kill -KILL $PPID; exit 1; fi
library=torch/lib/libtorch_cpu.so
printf library > $library
for requirement; do
    case "$requirement" in *==*) ;; *) continue ;; esac
    information=$(echo "${requirement%%==*}" | tr - _)-${requirement##*==}.dist-info
    mkdir "$information"
    echo "$library,sha256=,7" > "$information/RECORD"
done
if [ "$AT" = cut ]; then printf libra > $library; fi
"##;

    /// Says to a process that it is to install libtorch into this folder: it has to be another process, since PYTHON is read there.
    const FOLDER: &str = "SETUP_TEST_FOLDER";

    /// Whether this process is one that a test has started with [`set_up`]; if so, its work is done.
    fn is_set_up() -> bool {
        let Some(folder) = std::env::var_os(FOLDER) else { return false };
        if let Err(error) = provide(Path::new(&folder), Variant::Cpu) {
            eprintln!("error: {error}");
            std::process::exit(1);
        }
        true
    }

    /// A set-up that installs into `cache/libtorch` in `scratch`, as a process that can be started. It runs `test`, which calls this.
    fn set_up(test: &str, scratch: &Scratch, at: &str) -> Command {
        let python = scratch.join("python");
        if !python.exists() {
            // By another process: a file that this one has open for writing might be so in a program that another thread starts, and cannot be run then.
            let mut write = Command::new("sh");
            write.args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(&python).stdin(Stdio::piped());
            let mut write = write.spawn().unwrap();
            write.stdin.take().unwrap().write_all(PYTHON.replace("@VERSION@", VERSION).as_bytes()).unwrap();
            assert!(write.wait().unwrap().success());
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([&format!("libtorch::tests::{test}"), "--exact", "--nocapture"]).env(FOLDER, scratch.join("cache/libtorch"));
        command.env("PYTHON", python).env("CALLS", scratch.join("calls")).env("AT", at).stdin(Stdio::null());
        command
    }

    /// How often pip has been asked to install.
    fn installations(scratch: &Scratch) -> usize {
        fs::read_to_string(scratch.join("calls")).map_or(0, |calls| calls.lines().count())
    }

    /// Asserts that libtorch is whole, and that nothing else is left in the cache.
    fn expect_whole(scratch: &Scratch) {
        let cache = scratch.join("cache");
        assert_eq!(names(&cache), ["libtorch", "libtorch.lock"]);
        assert!(is_marked(&cache.join("libtorch"), Variant::Cpu));
        assert_eq!(fs::read(cache.join("libtorch/torch/lib/libtorch_cpu.so")).unwrap(), b"library");
        assert_eq!(
            names(&cache.join("libtorch")).iter().filter(|name| name.ends_with(".dist-info")).count(),
            Variant::Cpu.packages().len()
        );
    }

    #[test]
    fn a_set_up_that_was_killed_leaves_nothing_under_the_name_and_the_next_one_installs() {
        if is_set_up() {
            return;
        }
        let set_up = |scratch: &Scratch, at| {
            set_up("a_set_up_that_was_killed_leaves_nothing_under_the_name_and_the_next_one_installs", scratch, at).output().unwrap()
        };
        for at in ["half", "check"] {
            for is_broken_before in [false, true] {
                let scratch = Scratch::new("killed");
                let folder = scratch.join("cache/libtorch");
                if is_broken_before {
                    fs::create_dir_all(folder.join("torch")).unwrap();
                    fs::write(folder.join("torch/left"), "from an old set-up").unwrap();
                }
                let killed: Output = set_up(&scratch, at);
                assert_eq!(killed.status.signal(), Some(9), "{at}: {killed:?}");
                assert_eq!(folder.exists(), is_broken_before, "{at}");
                assert!(!is_marked(&folder, Variant::Cpu), "{at}");
                assert!(names(&scratch.join("cache")).iter().any(|name| name.contains(".partial-")), "{at}: killed before it installed");

                let next = set_up(&scratch, "");
                assert!(next.status.success(), "{at}: {next:?}");
                assert_eq!(installations(&scratch), 2, "{at}");
                expect_whole(&scratch);
                assert!(!folder.join("torch/left").exists(), "{at}");
                // And the one after that has nothing to do.
                assert!(set_up(&scratch, "fail").status.success(), "{at}");
            }
        }
    }

    #[test]
    fn an_installation_that_fails_or_is_not_whole_is_said_and_leaves_nothing() {
        if is_set_up() {
            return;
        }
        for (at, words) in
            [("fail", "pip could not install libtorch (exit status: 1)"), ("cut", "libtorch_cpu.so has 5 bytes instead of 7")]
        {
            let scratch = Scratch::new("failed");
            let failed = set_up("an_installation_that_fails_or_is_not_whole_is_said_and_leaves_nothing", &scratch, at).output().unwrap();
            let stderr = String::from_utf8_lossy(&failed.stderr);
            assert!(failed.status.code() == Some(1) && stderr.contains(words), "no {words:?} in: {failed:?}");
            assert_eq!(names(&scratch.join("cache")), ["libtorch.lock"], "{at}");
        }
    }

    #[test]
    fn of_two_set_ups_at_once_one_installs_and_the_other_waits_for_it() {
        if is_set_up() {
            return;
        }
        /// Reads on until a line that holds `words`.
        fn read_until(lines: &mut impl BufRead, words: &str) {
            let mut read = String::new();
            while !read.lines().last().is_some_and(|line| line.contains(words)) {
                assert!(lines.read_line(&mut read).unwrap() > 0, "no {words:?} in: {read}");
            }
        }
        let scratch = Scratch::new("two");
        let start = |at, stdin| {
            let mut command = set_up("of_two_set_ups_at_once_one_installs_and_the_other_waits_for_it", &scratch, at);
            let mut child = command.stdin(stdin).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let stderr = BufReader::new(child.stderr.take().unwrap());
            (child, stderr)
        };
        let (mut first, mut first_says) = start("wait", Stdio::piped());
        read_until(&mut first_says, "pip waits");
        // It would fail if it were to install.
        let (mut second, mut second_says) = start("fail", Stdio::null());
        read_until(&mut second_says, "waiting for another set-up");
        drop(first.stdin.take());
        for (name, child, says) in [("first", &mut first, &mut first_says), ("second", &mut second, &mut second_says)] {
            let mut rest = String::new();
            says.read_to_string(&mut rest).unwrap();
            assert!(child.wait().unwrap().success(), "the {name}: {rest}");
        }
        assert_eq!(installations(&scratch), 1);
        expect_whole(&scratch);
    }

    #[test]
    fn a_whole_folder_without_a_marker_is_adopted() {
        if is_set_up() {
            return;
        }
        let scratch = Scratch::new("adopted");
        let set_up = |at| set_up("a_whole_folder_without_a_marker_is_adopted", &scratch, at).output().unwrap().status;
        assert!(set_up("").success());
        fs::remove_file(scratch.join("cache/libtorch").join(MARKER)).unwrap();
        assert!(set_up("fail").success());
        expect_whole(&scratch);
    }

    #[test]
    fn a_marker_counts_only_for_the_packages_that_it_names() {
        let scratch = Scratch::new("marker");
        let folder = &scratch.0;
        assert!(!is_marked(folder, Variant::Cpu));
        fs::create_dir_all(folder.join("torch")).unwrap();
        finish(folder, Variant::Cpu).unwrap();
        assert!(is_marked(folder, Variant::Cpu));
        assert!(!is_marked(folder, Variant::Cuda));
        fs::write(folder.join(MARKER), "torch==2.12.0\n").unwrap();
        assert!(!is_marked(folder, Variant::Cpu));
    }

    #[test]
    fn a_link_is_replaced_and_a_folder_in_its_place_is_left_alone() {
        let folder = Scratch::new("link");
        let link = folder.join(".libtorch");
        for target in ["first", "second", "second"] {
            point(&link, &folder.join(target)).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), folder.join(target));
        }
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        let refused = point(&link, &folder.join("first")).unwrap_err();
        assert!(refused.to_string().contains("is not a symbolic link"), "{refused}");
        assert_eq!(names(&folder.0), [".libtorch"], "a temporary link was left");
    }

    #[test]
    fn leftovers_of_this_variant_go_and_nothing_else() {
        let cache = Scratch::new("leftovers");
        for name in ["libtorch-2.13.0.partial-7", "libtorch-2.13.0-cuda.partial-8", "libtorch-2.12.0", "libtorch-2.13.0"] {
            fs::create_dir_all(cache.join(name).join("packages")).unwrap();
        }
        remove_leftovers(&cache.join("libtorch-2.13.0")).unwrap();
        assert_eq!(names(&cache.0), ["libtorch-2.12.0", "libtorch-2.13.0", "libtorch-2.13.0-cuda.partial-8"]);
    }

    #[test]
    fn every_platform_tag_between_the_oldest_and_torch_s_own_is_asked_for() {
        let tags = platform_tags("aarch64");
        assert_eq!(tags.first().map(String::as_str), Some("manylinux_2_28_aarch64"));
        assert!(tags.contains(&"manylinux_2_25_aarch64".to_owned()) && tags.contains(&"manylinux2014_aarch64".to_owned()));
    }
}
