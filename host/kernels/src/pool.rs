//! Threads, each with working memory of its own.
//!
//! Tasks are taken by whichever thread is free, so that a busy core delays nobody. What a task writes depends on its number alone, and sums over
//! tasks are added in the order of their numbers: results do not depend on the number of threads, or on their speed.

use super::memory::Buffer;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use std::sync::Mutex;

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

    /// How many threads there are.
    pub fn threads(&self) -> usize {
        self.scratch.len()
    }

    /// Runs `work` on a thread of the pool: what it runs in parallel then starts sooner.
    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.threads.install(work)
    }

    /// What `work` makes of every number below `tasks`, in this order. It gets at least `floats` floats of working memory, whose content is anything.
    pub(crate) fn map<T: Send>(&self, tasks: usize, floats: usize, work: impl Fn(usize, &mut [f32]) -> T + Sync) -> Vec<T> {
        let one = |task| {
            let thread = rayon::current_thread_index().expect("a thread of the pool");
            // What a task that panicked has left there is as good as anything.
            let mut scratch = self.scratch[thread].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if scratch.len() < floats {
                *scratch = Buffer::new(floats);
            }
            work(task, &mut scratch[..floats])
        };
        self.threads.install(|| (0..tasks).into_par_iter().with_max_len(1).map(one).collect())
    }
}
