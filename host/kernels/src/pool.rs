//! Threads, each with working memory of its own.
//!
//! Tasks are taken by whichever thread is free, so that a busy core delays nobody. What a task writes depends on its number alone, and sums over
//! tasks are added in the order of their numbers: results do not depend on the number of threads, or on their speed.

use crate::error::Error;
use crate::memory::Buffer;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Threads that compute a network.
pub struct Pool {
    threads: rayon::ThreadPool,
    scratch: Vec<Mutex<Buffer>>,
}

impl Pool {
    /// So many threads.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn new(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).thread_name(|i| format!("engine-{i}")).build()?;
        let scratch = (0..threads.current_num_threads()).map(|_| Mutex::default()).collect();
        Ok(Self { threads, scratch })
    }

    /// Runs `work` on a thread of the pool: what it runs in parallel then starts sooner.
    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.threads.install(work)
    }

    /// Gives every thread working memory of at least `floats` floats.
    ///
    /// # Errors
    /// When the system has no memory for them.
    pub(crate) fn reserve(&self, floats: usize) -> Result<(), Error> {
        for scratch in &self.scratch {
            let mut scratch = held(scratch);
            if scratch.len() < floats {
                *scratch = Buffer::new(floats)?;
            }
        }
        Ok(())
    }

    /// What `work` makes of every number below `tasks`, in this order. It gets `floats` floats of the working memory that was
    /// [reserved](Self::reserve), whose content is anything.
    pub(crate) fn map<T: Send>(&self, tasks: usize, floats: usize, work: impl Fn(usize, &mut [f32]) -> T + Sync) -> Vec<T> {
        let one = |task| {
            let thread = rayon::current_thread_index().expect("a thread of the pool");
            work(task, &mut held(&self.scratch[thread])[..floats])
        };
        self.threads.install(|| (0..tasks).into_par_iter().with_max_len(1).map(one).collect())
    }
}

/// What a task that panicked has left there is as good as anything.
fn held(scratch: &Mutex<Buffer>) -> MutexGuard<'_, Buffer> {
    scratch.lock().unwrap_or_else(PoisonError::into_inner)
}
