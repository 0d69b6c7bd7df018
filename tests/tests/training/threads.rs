//! Several threads of libtorch, as users have them: what is computed depends on their number, on nothing else.

use serde_json::Value;
use std::fs;
use std::mem::{size_of, zeroed};
use tests::artifact;
use tests::program::Bench;

/// Two threads of libtorch, two loader threads, and a checkpoint after each step.
const ARGUMENTS: [&str; 12] =
    ["--threads", "2", "--workers", "2", "--epochs", "2", "--iterations", "6", "--val-iterations", "2", "--checkpoint-minutes", "1e-9"];

/// What `work` returns, done on one core, as are the programs that it starts.
fn on_one_core<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: a set of cores is plain bits; the calls read and write as many bytes of it as they are told, for this thread alone.
    let set = |cores: &libc::cpu_set_t| unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), cores) };
    // SAFETY: as above.
    let (all, one) = unsafe {
        let (mut all, mut one): (libc::cpu_set_t, libc::cpu_set_t) = (zeroed(), zeroed());
        assert_eq!(libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut all), 0, "{}", std::io::Error::last_os_error());
        let first = (0..libc::CPU_SETSIZE as usize).find(|core| libc::CPU_ISSET(*core, &all)).expect("this thread runs somewhere");
        libc::CPU_SET(first, &mut one);
        (all, one)
    };
    assert_eq!(set(&one), 0, "{}", std::io::Error::last_os_error());
    let done = work();
    assert_eq!(set(&all), 0, "{}", std::io::Error::last_os_error());
    done
}

/// Asserts that `bench` holds, to the last byte, what `whole` does.
fn assert_same(bench: &Bench, whole: &Bench, what: &str) {
    assert!(bench.final_tensors() == whole.final_tensors(), "{what}: other weights");
    assert!(bench.tensors("best") == whole.tensors("best"), "{what}: other weights of the best epoch");
    assert_eq!(bench.lasting_records(), whole.lasting_records(), "{what}");
    assert_eq!(bench.summary(), whole.summary(), "{what}");
    let debug: Value = serde_json::from_slice(&fs::read(bench.fold().join("debug.json")).expect("written")).expect("JSON");
    assert_eq!(debug.pointer("/identity/machine/threads"), Some(&2.into()), "{what}");
}

#[test]
fn two_threads_end_with_the_same_bytes_every_time_after_a_kill_and_on_one_core() {
    let base = artifact::plugin("base");
    let whole = Bench::new();
    whole.train(&base, &ARGUMENTS).expect_success();

    let again = Bench::new();
    again.train(&base, &ARGUMENTS).expect_success();
    assert_same(&again, &whole, "again");

    let killed = Bench::new();
    // In the middle of the second epoch.
    killed.train_killed(&base, &ARGUMENTS, "train.step 9");
    killed.train(&base, &[&ARGUMENTS[..], &["--resume"]].concat()).expect_success();
    assert_same(&killed, &whole, "killed");

    let narrow = Bench::new();
    on_one_core(|| narrow.train(&base, &ARGUMENTS)).expect_success();
    assert_same(&narrow, &whole, "on one core");
}
