//! Plugins in C and C++ that come with the tests, each compiled by one call of the compiler, once a process.

use crate::artifact;
use plugin_api::manifest::LIBTORCH;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// `tests/fixtures/plain-c`: compiled as C, without libtorch's headers.
pub fn plain_c() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("plain-c", artifact::compiler("CC", "cc"), &["-std=c11"], "plain-c/plugin.c")).clone()
}

/// `tests/fixtures/faulty-cpp`.
pub fn faulty_cpp() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("faulty-cpp", artifact::compiler("CXX", "c++"), &["-std=c++20"], "faulty-cpp/plugin.cpp")).clone()
}

/// The same with a gradient by hand, for which the host does not call its `loss`.
pub fn faulty_cpp_with_grad() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let further = ["-std=c++20", "-DLOSS_WITH_GRAD"];
    BUILT.get_or_init(|| build("faulty-cpp-with-grad", artifact::compiler("CXX", "c++"), &further, "faulty-cpp/plugin.cpp")).clone()
}

/// Compiles `source`, below `tests/fixtures`, to a library that is named after `name`.
fn build(name: &str, mut compiler: Command, further: &[&str], source: &str) -> PathBuf {
    let file = format!("lib{}.so", name.replace('-', "_"));
    let fixtures = artifact::root().join("tests/fixtures");
    // Not where the library ends up: another process may be building the same one, or reading it.
    let folder = artifact::folder();
    compiler.args(["-Wall", "-Wextra", "-O1", "-shared", "-fPIC"]).args(further).arg(format!("-DTP_LIBTORCH=\"{LIBTORCH}\""));
    compiler.arg("-I").arg(artifact::root().join("plugin-api/include")).arg("-I").arg(fixtures.join("plain-c")).arg(fixtures.join(source));
    compiler.arg("-L").arg(env!("TESTS_LIBTORCH")).arg("-ltorch_cpu").arg("-o").arg(folder.path().join(&file));
    assert!(compiler.status().expect("a C and a C++ compiler are there").success(), "{compiler:?}");
    fs::create_dir_all(artifact::fixtures()).expect("the target folder is writable");
    let library = artifact::fixtures().join(&file);
    fs::rename(folder.path().join(file), &library).expect("the target folder is writable");
    library
}
