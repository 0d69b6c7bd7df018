//! Named points at which a test ends, stops or interrupts the program, so that no test has to guess how long a machine needs to get there.
//!
//! `HOST_FAILPOINT="train.step 20 KILL"` raises SIGKILL when the program reaches the point `train.step` for the 20th time; the other signals are
//! INT, as Ctrl-C sends it, and STOP, after which the test does something to the files and lets the program go on with SIGCONT.
//!
//! | point | where |
//! |---|---|
//! | `train.step` | before a training step |
//! | `fold.removed` | after a fold that is overwritten was renamed, before its files are removed |
//! | `model.unpacked` | after a ZIP file was unpacked |
//! | `preprocess.case` | after a case has been preprocessed and written |
//! | `sync FILE`, `rename FILE`, `renamed FILE` | while the file of this name is replaced: before it is synced, before and after it is renamed |

use std::fmt::Arguments;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable that names a point, a number and a signal.
pub const VARIABLE: &str = "HOST_FAILPOINT";

struct Failpoint {
    point: String,
    number: u64,
    signal: i32,
    reached: AtomicU64,
}

/// What the variable asks for; `None` where it is not set, which is everywhere but in tests.
static FAILPOINT: LazyLock<Option<Failpoint>> = LazyLock::new(|| {
    let text = std::env::var(VARIABLE).ok()?;
    Some(parse(&text).unwrap_or_else(|| panic!("{VARIABLE}={text:?}: expected POINT NUMBER KILL|INT|STOP, as in \"train.step 20 KILL\"")))
});

fn parse(text: &str) -> Option<Failpoint> {
    let (rest, signal) = text.rsplit_once(' ')?;
    let (point, number) = rest.rsplit_once(' ')?;
    let signal = match signal {
        "KILL" => libc::SIGKILL,
        "INT" => libc::SIGINT,
        "STOP" => libc::SIGSTOP,
        _ => return None,
    };
    Some(Failpoint { point: point.to_owned(), number: number.parse().ok()?, signal, reached: AtomicU64::new(0) })
}

/// Says that the program has come to `point`; raises the signal if the variable names this point and this is the time that it names.
pub fn reached(point: Arguments) {
    let Some(failpoint) = &*FAILPOINT else { return };
    if failpoint.point == point.to_string() && failpoint.reached.fetch_add(1, Ordering::Relaxed) + 1 == failpoint.number {
        // SAFETY: sends a signal to this thread, and returns when it has been handled; no memory is touched.
        unsafe { libc::raise(failpoint.signal) };
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_point_may_hold_spaces_and_the_rest_must_fit() {
        let failpoint = parse("rename checkpoint_latest.safetensors 3 KILL").unwrap();
        assert_eq!(
            (failpoint.point.as_str(), failpoint.number, failpoint.signal),
            ("rename checkpoint_latest.safetensors", 3, libc::SIGKILL)
        );
        for text in ["", "train.step", "train.step KILL", "train.step x KILL", "train.step 3 HUP"] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }
}
