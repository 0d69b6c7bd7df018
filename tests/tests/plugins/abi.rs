//! The binary interface only grows: plugins and hosts of different versions of plugin-api work together, in both directions.
//!
//! Releases are kept as `cargo package` made them, in `fixtures/released`. `little-host` is a host of whatever version it is built against.

use host::plugin;
use std::fs;
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
fn every_release_that_is_kept_is_tested() {
    let folder = artifact::root().join("tests/fixtures/released");
    let names = fs::read_dir(folder).expect("there").map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"));
    let version = |name: String| Some(name.strip_prefix("plugin-api-")?.strip_suffix(".crate")?.to_owned());
    let mut kept: Vec<String> = names.filter_map(version).collect();
    kept.sort();
    assert_eq!(kept, RELEASES);
}

#[test]
fn plugins_and_hosts_of_any_two_versions_work_together() {
    let releases = RELEASES.map(|version| Some(Api::Released(version)));
    let versions: Vec<Option<Api>> = releases.into_iter().chain([None, Some(Api::Next)]).collect();
    let plugin = |api: Option<Api>| api.map_or_else(|| artifact::fixture("two-heads"), |api| artifact::fixture_against("two-heads", api));
    let expected = little_host(None, &plugin(None));
    assert!(expected.starts_with("parts 1 ") && expected.contains("sharp 0.5 "), "{expected}");
    for host in &versions {
        for version in &versions {
            assert_eq!(little_host(*host, &plugin(*version)), expected, "host {host:?}, plugin {version:?}");
        }
    }
}

#[test]
fn what_was_built_against_a_release_loads_and_trains() {
    let rust = artifact::fixture_against("two-heads", Api::Released("1.0.0"));
    assert_eq!(plugin::load(&rust, &artifact::this_host()).expect("loads").identity().manifest.clone().api, "1.0.0");
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
        // As the fixtures are built: libtorch's bindings are compiled already, and no other clone writes to this folder.
        diff.arg(version).env("CARGO_TARGET_DIR", artifact::fixtures()).env("CARGO_BUILD_BUILD_DIR", artifact::target());
        let diff = diff.output().expect("bash is there");
        let text = String::from_utf8_lossy(&diff.stdout);
        assert!(diff.status.success(), "{}", String::from_utf8_lossy(&diff.stderr));
        assert!(!text.lines().any(|line| line.starts_with('-')), "since {version}: {text}");
    }
}
