//! libFuzzer's door to the target that TARGET names.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static TARGET: LazyLock<fuzz::Target> = LazyLock::new(|| fuzz::find(&std::env::var("TARGET").expect("TARGET names a target")));

fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
