//! Passes what a plugin was built with (compiler, target, libtorch) to the manifest, and lets this crate's tests find libtorch.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let rustc = std::env::var("RUSTC").expect("set by Cargo");
    let version = Command::new(rustc).arg("--version").output().expect("rustc runs").stdout;
    println!("cargo:rustc-env=TRAINER_RUSTC={}", String::from_utf8_lossy(&version).trim());
    println!("cargo:rustc-env=TRAINER_TARGET={}", std::env::var("TARGET").expect("set by Cargo"));
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_FEATURE_TORCH").is_none() {
        return;
    }
    let library = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys is a direct dependency"));
    println!("cargo:rustc-env=TRAINER_LIBTORCH={}", libtorch_version(&library));
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", library.display());
    // Before torch-sys names `libtorch.so`, which needs CUDA's libraries, where there are none, and which GNU ld would otherwise hold for needed: some
    // of the C++ templates in it are those that libtorch's bindings use. `manifest::running_libtorch` refers to the first of these.
    for name in ["torch_cpu", "c10"] {
        println!("cargo:rustc-link-lib={name}");
    }
}

/// The version that the headers of this libtorch name: they are what a plugin is compiled against.
fn libtorch_version(library: &Path) -> String {
    let header = library.join("../include/torch/headeronly/version.h");
    let text = std::fs::read_to_string(&header).unwrap_or_else(|e| panic!("cannot read {}: {e}", header.display()));
    let number = |name: &str| {
        let line = text.lines().find(|line| line.contains(&format!("define TORCH_VERSION_{name} ")));
        line.and_then(|line| line.split_whitespace().last())
            .unwrap_or_else(|| panic!("no TORCH_VERSION_{name} in {}", header.display()))
            .to_owned()
    };
    println!("cargo:rerun-if-changed={}", header.display());
    format!("{}.{}.{}", number("MAJOR"), number("MINOR"), number("PATCH"))
}
