//! Lets the tests find libtorch: the library when they start, the headers when they compile a C++ plugin.

use std::path::PathBuf;

fn main() {
    let library = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys is a direct dependency"));
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", library.display());
    println!("cargo:rustc-env=TESTS_LIBTORCH={}", library.display());
    println!("cargo:rerun-if-changed=build.rs");
}
