//! `host plugin new`: what it writes builds, passes its own tests and the check, and trains, as it is.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};
use tests::artifact;
use tests::program::{self, Bench};

/// Runs `host plugin …` in the account of `home`.
fn host(home: &Path, arguments: &[&str]) -> Output {
    program::host(home).arg("plugin").args(arguments).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `script` in a shell that has evaluated `host plugin env`, as the guide says. Cargo compiles into the build folder of these tests,
/// by the settings of the repository, which lies above `folder`, and without the network: libtorch's bindings are then not compiled again.
fn shell(folder: &Path, script: &str) {
    let mut bash = Command::new("bash");
    let host = artifact::host();
    let script = format!("set -e; eval \"$('{}' plugin env)\"; test -d \"$LIBTORCH/include\"; unset LIBTORCH; {script}", host.display());
    bash.args(["-c", &script]).current_dir(folder);
    bash.env("CARGO_TARGET_DIR", artifact::target()).env("CARGO_NET_OFFLINE", "true");
    for variable in ["LD_LIBRARY_PATH", "LIBTORCH", "TRAINER_LOCKED", "RUST_LOG"] {
        bash.env_remove(variable);
    }
    // Not that of the test that runs: it would tell the inner test that it is this one.
    bash.env_remove("CARGO_MANIFEST_DIR");
    let output = bash.output().expect("bash is there");
    assert!(output.status.success(), "{script}\n{}\n{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn a_new_crate_passes_its_tests_and_its_check_and_trains() {
    // Always the same folder, so that Cargo's build folder does not grow with every run; one process at a time uses it.
    let output = artifact::fixtures().join("new");
    fs::create_dir_all(&output).expect("writable");
    let lock = File::create(output.join("lock")).expect("writable");
    lock.lock().expect("the file system has locks");
    let (name, folder) = ("new-plugin", output.join("new-plugin"));
    let _ = fs::remove_dir_all(&folder);
    let new = ["new", name, "--output", output.to_str().expect("UTF-8")];
    let made = host(&output, &new);
    assert!(made.status.success(), "{}", text(&made.stderr));
    fs::copy(artifact::root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("writable");
    shell(&folder, "cargo test --quiet");
    // Where it was built, every `host plugin list` would find it beside the program.
    let library = folder.join("libnew_plugin.so");
    fs::rename(artifact::target().join("debug/libnew_plugin.so"), &library).expect("the test has built it");
    let bench = Bench::new();
    bench.train(&library, &["--set", "weight=2"]).expect_success();
    let record = &bench.records()[0];
    assert!(record["train"]["mine"]["value"].as_f64().is_some_and(|value| value > 0.0), "{record}");

    let again = host(&output, &new);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));
}

#[test]
fn a_new_plugin_in_cpp_is_one_file_and_a_short_script() {
    let folder = artifact::cpp_plugin().parent().expect("a folder").to_owned();
    let script = fs::read_to_string(folder.join("build.sh")).expect("written");
    assert!(script.lines().count() <= 15 && !script.contains("cmake"), "{script}");
    // It passes its check in `conformance.rs` and trains in `doors.rs`.
    assert!(folder.join("trainer_plugin.h").is_file());
}

#[test]
fn a_full_disk_leaves_nothing() {
    let folder = artifact::folder();
    let host = program::host(folder.path());
    let mut shell = Command::new("bash");
    shell.args(["-c", "ulimit -S -f 1; exec \"$@\"", "bash"]).arg(host.get_program());
    let refused = shell.args(["plugin", "new", "my-loss", "--lang", "c++", "--output"]).arg(folder.path()).output().expect("it starts");
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("cannot write"), "{}", text(&refused.stderr));
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
}

#[test]
fn names_that_cannot_be() {
    let folder = artifact::folder();
    for name in ["", "My-Loss", "a/b", "../x", "1st", "a_b", "x-"] {
        let refused = host(folder.path(), &["new", name, "--output", folder.path().to_str().expect("UTF-8")]);
        assert_eq!(refused.status.code(), Some(1), "{name:?}");
        assert!(text(&refused.stderr).contains("cannot be the name of a plugin"), "{}", text(&refused.stderr));
    }
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
}
