//! What plugin-api's build script finds out from libtorch, which this crate does without.

fn main() {
    for (variable, value) in [("TRAINER_RUSTC", "any"), ("TRAINER_TARGET", "any"), ("TRAINER_LIBTORCH", "2.13.0")] {
        println!("cargo:rustc-env={variable}={value}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
