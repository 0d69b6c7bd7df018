//! Set-ups that are killed, fail, and run two at once, with a shell script in the place of pip; links, markers and leftovers.

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
    assert_eq!(names(&cache.join("libtorch")).iter().filter(|name| name.ends_with(".dist-info")).count(), Variant::Cpu.packages().len());
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
    for (at, words) in [("fail", "pip could not install libtorch (exit status: 1)"), ("cut", "libtorch_cpu.so has 5 bytes instead of 7")] {
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
