//! The binary interface only grows: plugins and hosts of different versions of plugin-api work together, in both directions.
//!
//! Releases are kept as `cargo package` made them, in `fixtures/released`. `little-host` is a host of whatever version it is built against.

use host::plugin::Library;
use std::path::Path;
use std::process::Command;
use tests::artifact::{self, Api};
use tests::program::Bench;

/// What `little-host`, built against `api` (`None`: this clone's), makes of `plugin`.
fn little_host(api: Option<Api>, plugin: &Path) -> String {
    let program = api.map_or_else(|| artifact::fixture("little-host"), |api| artifact::fixture_against("little-host", api));
    let output = Command::new(&program).arg(plugin).env("LD_LIBRARY_PATH", env!("TESTS_LIBTORCH")).output().expect("it starts");
    assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// All that there are.
const RELEASES: [&str; 2] = ["1.0.0", "1.1.0"];

#[test]
fn plugins_and_hosts_of_any_two_versions_work_together() {
    let plugins = [
        ("now", artifact::fixture("two-heads")),
        ("1.0.0", artifact::fixture_against("two-heads", Api::Released("1.0.0"))),
        ("next", artifact::fixture_against("two-heads", Api::Next)),
    ];
    let expected = little_host(None, &plugins[0].1);
    assert!(expected.starts_with("parts 1 ") && expected.contains("sharp 0.5 "), "{expected}");
    for host in [None, Some(Api::Released("1.0.0")), Some(Api::Next)] {
        for (version, plugin) in &plugins {
            assert_eq!(little_host(host, plugin), expected, "host {host:?}, plugin {version}");
        }
    }
}

#[test]
fn what_was_built_against_a_release_loads_and_trains() {
    let rust = artifact::fixture_against("two-heads", Api::Released("1.0.0"));
    assert_eq!(Library::load(&rust).expect("loads").manifest.api, "1.0.0");
    Bench::new().train(&rust, &["--set", "weight=0.5"]).expect_success();
    Bench::new().train(&artifact::released_cpp_plugin("1.0.0"), &[]).expect_success();
    // What came with 1.1: a target transform.
    Bench::new().train(&artifact::fixture_against("heatmap", Api::Released("1.1.0")), &["--set", "sigma=3"]).expect_success();
    Bench::new().train(&artifact::fixture_against("two-heads", Api::Next), &["--set", "weight=0.5"]).expect_success();
}

#[test]
fn nothing_that_a_release_had_is_gone() {
    for version in RELEASES {
        let mut diff = Command::new(artifact::root().join("tests/abi-diff"));
        let diff = diff.arg(version).env("CARGO_TARGET_DIR", artifact::target()).output().expect("bash is there");
        let text = String::from_utf8_lossy(&diff.stdout);
        assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stderr));
        assert!(!text.lines().any(|line| line.starts_with('-')), "since {version}: {text}");
    }
}
