//! The same work for every case, on several threads.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How far a pass over all cases has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Which pass.
    pub stage: Stage,
    /// Cases done.
    pub done: usize,
    /// Cases in all.
    pub total: usize,
}

/// A pass over all cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Shapes, spacings and intensities are collected.
    Fingerprint,
    /// Cases are cropped, normalised, resampled and stored.
    Preprocess,
    /// Every file is opened and compared with what it should be.
    Check,
    /// Cases of another format are brought to nnU-Net's.
    Convert,
    /// Predictions are compared with references.
    Evaluate,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fingerprint => "fingerprint",
            Self::Preprocess => "preprocess",
            Self::Check => "check",
            Self::Evaluate => "evaluate",
            Self::Convert => "convert",
        })
    }
}

/// The program has a fault, which this case shows.
#[derive(Debug, thiserror::Error)]
#[error(
    "case {case}: stopped by a fault of this program ({reason}); leave the case out, and report the fault with the headers of its files"
)]
pub struct Panicked {
    case: String,
    reason: String,
}

impl From<Panicked> for String {
    fn from(panicked: Panicked) -> Self {
        panicked.to_string()
    }
}

/// What `work` makes of a case; a panic in it is this case's error, and no other's.
///
/// # Errors
/// When it fails or panics.
pub fn guarded<T, E: From<Panicked>>(case: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // Whatever the work was changing is thrown away with the case.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Panicked { case: case.to_owned(), reason: said.unwrap_or("it does not say why").to_owned() }.into())
    })
}

/// Calls `work` for every case on `threads` threads and returns the results in the order of `cases`.
///
/// `progress` is called after every case, from the thread that did it.
///
/// # Errors
/// The error of the first case, in the order of `cases`, that has one: the same at every run, whatever thread is faster.
/// Cases already begun are finished, no further ones are.
pub fn for_each_case<C: Sync, T: Send, E: Send>(
    cases: &[C],
    threads: usize,
    stage: Stage,
    progress: &(dyn Fn(Progress) + Sync),
    work: impl Fn(&C) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let total = cases.len();
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let failure: Mutex<Option<(usize, E)>> = Mutex::new(None);
    let run = || {
        let mut results = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(index) else { return results };
            match work(case) {
                Ok(result) => results.push((index, result)),
                Err(error) => {
                    next.store(total, Ordering::Relaxed);
                    let mut failure = failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    if failure.as_ref().is_none_or(|(first, _)| index < *first) {
                        *failure = Some((index, error));
                    }
                    return results;
                }
            }
            progress(Progress { stage, done: done.fetch_add(1, Ordering::Relaxed) + 1, total });
        }
    };
    let mut results: Vec<(usize, T)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.clamp(1, total.max(1))).map(|_| scope.spawn(run)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    if let Some((_, error)) = failure.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()) {
        return Err(error);
    }
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Barrier;
    use std::sync::mpsc::{Sender, channel};

    use indexmap::IndexMap;

    use super::*;
    use crate::dataset::Case;

    thread_local! {
        /// Dropped when its thread has ended: by then the pass knows of the error.
        static UNTIL_THE_END: RefCell<Option<Sender<()>>> = const { RefCell::new(None) };
    }

    fn cases(n: usize) -> Vec<Case> {
        (0..n).map(|i| Case { id: crate::name::Name::known(format!("{i:03}")), images: vec![], targets: IndexMap::new() }).collect()
    }

    #[test]
    fn results_keep_the_order_of_the_cases() {
        let cases = cases(50);
        let seen = AtomicUsize::new(0);
        let progress = |_: Progress| {
            seen.fetch_add(1, Ordering::Relaxed);
        };
        let ids = for_each_case(&cases, 4, Stage::Preprocess, &progress, |case| Ok::<_, ()>(case.id.clone())).expect("runs");
        assert_eq!(ids, cases.iter().map(|case| case.id.clone()).collect::<Vec<_>>());
        assert_eq!(seen.load(Ordering::Relaxed), 50);
    }

    #[test]
    fn of_two_cases_that_fail_the_first_in_order_is_told() {
        let cases = cases(2);
        let (sender, ended) = channel();
        let (sender, ended) = (Mutex::new(Some(sender)), Mutex::new(ended));
        let error = for_each_case(&cases, 2, Stage::Preprocess, &|_| {}, |case| {
            if case.id == "000" {
                ended.lock().expect("no panic").recv().expect_err("nothing is ever sent");
            } else {
                UNTIL_THE_END.set(sender.lock().expect("no panic").take());
            }
            Err::<(), _>(case.id.clone())
        })
        .expect_err("both fail");
        assert_eq!(error, "000");
    }

    #[test]
    fn after_an_error_cases_already_begun_are_finished_and_no_further_ones_are_begun() {
        let cases = cases(1000);
        let (begun, finished, both) = (AtomicUsize::new(0), AtomicUsize::new(0), Barrier::new(2));
        let (sender, ended) = channel();
        let (sender, ended) = (Mutex::new(Some(sender)), Mutex::new(ended));
        let error = for_each_case(&cases, 2, Stage::Preprocess, &|_| {}, |case| {
            begun.fetch_add(1, Ordering::Relaxed);
            if case.id == "000" {
                UNTIL_THE_END.set(sender.lock().expect("no panic").take());
                both.wait();
                return Err(case.id.clone());
            }
            if case.id == "001" {
                both.wait();
                ended.lock().expect("no panic").recv().expect_err("nothing is ever sent");
            }
            finished.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
        .expect_err("case 000 fails");
        assert_eq!(error, "000");
        assert_eq!((begun.into_inner(), finished.into_inner()), (2, 1), "begun and finished");
    }
}
