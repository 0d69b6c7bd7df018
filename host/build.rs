//! Compiles the shim, and lets the programs and tests of this package find libtorch where they were linked.

use std::path::PathBuf;

fn main() {
    let library = PathBuf::from(std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys is a direct dependency"));
    let include = library.join("../include");
    cc::Build::new()
        .cpp(true)
        // `host/setup` checks beforehand that the compiler knows it.
        .std("c++20")
        .flag("-D_GLIBCXX_USE_CXX11_ABI=1")
        .flag("-Wno-unused-parameter")
        .opt_level(2)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("src/shim/shim.cpp")
        .compile("trainer_shim");
    for name in ["torch_cpu", "c10"] {
        println!("cargo:rustc-link-lib={name}");
    }
    println!("cargo:rustc-link-search=native={}", library.display());
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", library.display());
    println!("cargo:rerun-if-changed=src/shim/shim.cpp");
    println!("cargo:rerun-if-changed=build.rs");
}
