//! What plugin and host may differ in, through either door: the patch version of libtorch, and the compiler.

use plugin_api::manifest::LIBTORCH;
use tests::artifact;
use tests::program::Bench;

/// The version of the host's libtorch with `patch` and `minor` added to its last two numbers.
fn libtorch(minor: u32, patch: u32) -> String {
    let parts: Vec<u32> = LIBTORCH.split('.').map(|part| part.parse().expect("three numbers")).collect();
    format!("{}.{}.{}", parts[0], parts[1] + minor, parts[2] + patch)
}

#[test]
fn a_plugin_for_another_patch_of_libtorch_by_another_compiler_trains_the_same() {
    for library in [artifact::fixture("brier"), artifact::cpp_plugin()] {
        let (usual, other) = (Bench::new(), Bench::new());
        usual.train(&library, &[]).expect_success();
        let patched = artifact::with_manifest(&library, other.folder(), |manifest| {
            manifest.libtorch = libtorch(0, 1);
            manifest.compiler = "4.8".to_owned();
        });
        let inspected = other.run(&["plugin", "inspect", patched.to_str().expect("UTF-8")]).expect_success().stdout;
        let says = |key: &str, value: &str| inspected.lines().any(|line| line.split_whitespace().eq([key, value]));
        assert!(says("libtorch", &libtorch(0, 1)) && says("compiler", "4.8"), "{inspected}");
        let ended = other.train(&patched, &[]).expect_success();
        assert!(other.final_tensors() == usual.final_tensors(), "{}: other weights; {ended:#?}", library.display());
    }
}

#[test]
fn a_plugin_for_another_minor_of_libtorch_is_refused() {
    let bench = Bench::new();
    for library in [artifact::fixture("brier"), artifact::cpp_plugin()] {
        let patched = artifact::with_manifest(&library, bench.folder(), |manifest| manifest.libtorch = libtorch(1, 0));
        let told = format!("is built for libtorch {}, this host runs {LIBTORCH}; build it against libtorch {LIBTORCH}", libtorch(1, 0));
        bench.train(&patched, &[]).expect_refusal(&["libpatched.so", &told]);
        assert!(!bench.results().exists() && !bench.folder().join("preprocessed").exists(), "something was begun");
    }
}
