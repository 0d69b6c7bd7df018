//! `host plugin new`: what it writes builds, passes its own tests and the check, and trains, as it is.

use std::fs;
use std::process::{Command, Output};
use tests::artifact;
use tests::program::Bench;

fn host(arguments: &[&str]) -> Output {
    Command::new(artifact::host()).arg("plugin").args(arguments).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `script` in a shell that has evaluated `host plugin env`, as the guide says. Cargo compiles into the target folder of these tests, by the settings of
/// the repository, in whose root it is called, and without the network: libtorch's bindings are then not compiled again.
fn shell(script: &str) {
    let mut bash = Command::new("bash");
    let host = artifact::host();
    let script = format!("set -e; eval \"$('{}' plugin env)\"; test -d \"$LIBTORCH/include\"; unset LIBTORCH; {script}", host.display());
    bash.args(["-c", &script]).current_dir(artifact::root());
    bash.env("CARGO_TARGET_DIR", artifact::target()).env("CARGO_NET_OFFLINE", "true").env_remove("LD_LIBRARY_PATH").env_remove("LIBTORCH");
    // Not those of the test that runs: they would tell the inner test that it is this one.
    bash.env_remove("CARGO_MANIFEST_DIR");
    let output = bash.output().expect("bash is there");
    assert!(output.status.success(), "{script}\n{}\n{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn a_new_crate_passes_its_tests_and_its_check_and_trains() {
    let bench = Bench::new();
    let output = bench.folder().to_str().expect("UTF-8");
    let made = host(&["new", "my-loss", "--output", output]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let folder = bench.folder().join("my-loss");
    fs::copy(artifact::root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("writable");
    let manifest = folder.join("Cargo.toml");
    shell(&format!("cargo test --quiet --manifest-path '{}'", manifest.display()));
    shell(&format!("cargo clippy --quiet --manifest-path '{}' -- -D warnings", manifest.display()));
    shell(&format!("cd '{}'; cargo fmt --check", folder.display()));
    let library = artifact::target().join("debug/libmy_loss.so");
    bench.train(&library, &["--set", "weight=2"]).expect_success();
    let record = &bench.records()[0];
    assert!(record["train"]["mine"]["value"].as_f64().is_some_and(|value| value > 0.0), "{record}");

    let again = host(&["new", "my-loss", "--output", output]);
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
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut shell = Command::new("bash");
    shell.args(["-c", "ulimit -S -f 1; exec \"$@\"", "bash"]).arg(artifact::host());
    let refused = shell.args(["plugin", "new", "my-loss", "--lang", "c++", "--output"]).arg(folder.path()).output().expect("it starts");
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("cannot write"), "{}", text(&refused.stderr));
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
}

#[test]
fn names_that_cannot_be() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["", "My-Loss", "a/b", "../x", "1st", "a_b", "x-"] {
        let refused = host(&["new", name, "--output", folder.path().to_str().expect("UTF-8")]);
        assert_eq!(refused.status.code(), Some(1), "{name:?}");
        assert!(text(&refused.stderr).contains("cannot be the name of a plugin"), "{}", text(&refused.stderr));
    }
    assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 0);
}
