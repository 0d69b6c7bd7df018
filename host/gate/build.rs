//! Lets the tests of `gate`, and those of `fuzz`, which uses this script too, find libtorch. Built alone they do not load it. Built together with
//! the host they do, because Cargo then builds `plugin-api` once, with its feature `torch`.

fn main() {
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
    println!("cargo:rerun-if-env-changed=LIBTORCH");
}
