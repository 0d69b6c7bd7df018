//! Lets the tests of this package find libtorch, which they need where they are built together with the host: `plugin-api` is one crate there, with
//! its feature `torch`.

fn main() {
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    println!("cargo:rerun-if-changed=build.rs");
}
