//! `host plugin check` from a plugin's own `cargo test`.

use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Builds the crate that is tested as the library it ships as, and lets the host check that it keeps the contract. `arguments` go to `host plugin check`,
/// e.g. `["--set", "weight=2"]`. The host is the program that `TRAINER_HOST` names, which `host plugin env` sets, else `host`.
///
/// ```no_run
/// #[test]
/// fn it_keeps_the_contract() {
///     plugin_api::conformance::check(&[]);
/// }
/// ```
///
/// # Panics
/// With the host's report where a case fails, and where the crate cannot be built or the host cannot be run.
pub fn check(arguments: &[&str]) {
    let library = build();
    let host = std::env::var_os("TRAINER_HOST").unwrap_or("host".into());
    let output = match Command::new(&host).args(["plugin", "check"]).arg(&library).args(arguments).output() {
        Ok(output) => output,
        Err(error) => panic!("{}: {error}; set TRAINER_HOST to the host program: eval \"$(host plugin env)\"", host.display()),
    };
    let report = String::from_utf8_lossy(&output.stdout);
    println!("{report}");
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The library of the crate under test, in the target folder and the profile of this very test.
fn build() -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set; run this with `cargo test`"));
    let test = std::env::current_exe().expect("a running program has a path");
    let target = test.ancestors().nth(3).expect("<target>/<profile>/deps/<test>");
    let mut cargo = Command::new(variable("CARGO"));
    cargo.args(["build", "--lib", "--message-format=json-render-diagnostics", "--target-dir"]).arg(target);
    cargo.args(["--manifest-path"]).arg(PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    if test.ancestors().nth(2).is_some_and(|profile| profile.ends_with("release")) {
        cargo.arg("--release");
    }
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "the library cannot be built");
    let text = String::from_utf8_lossy(&output.stdout);
    let is_library = |message: &Value| message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "cdylib"));
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(is_library);
    // Dependencies come first.
    let library = messages.last().and_then(|message| message["filenames"][0].as_str().map(PathBuf::from));
    library.expect("a library: the crate's Cargo.toml has crate-type = [\"cdylib\"]")
}
