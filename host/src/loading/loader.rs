//! Worker threads that make batches ahead of time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::sample::Sample;
use super::targets::TargetBuilder;
use super::{Array, Batch, Error, LoaderOptions, Source};

/// Batches that a worker may have ready; together with the one it is working on, this bounds memory.
const AHEAD: usize = 2;

/// An endless sequence of batches.
///
/// Of `n` workers, worker `w` makes the batches `w`, `w + n`, `w + 2n`, … and has a channel of its own. Taking from the channels
/// in turn gives the batches in order without any sorting. Dropping the loader stops the workers and waits for them.
#[derive(Debug)]
pub struct Loader {
    batches: Vec<Receiver<Result<Batch, Error>>>,
    threads: Vec<JoinHandle<()>>,
    /// The worker whose turn it is.
    turn: usize,
    data_wait: Duration,
}

impl Loader {
    /// Starts the workers. The first batch is that of `first`, an epoch and an iteration of it.
    ///
    /// # Errors
    /// When options contradict each other or the source, or a thread cannot be started.
    pub fn start(source: Arc<Source>, options: LoaderOptions, iterations_per_epoch: u64, first: (u64, u64)) -> Result<Self, Error> {
        options.check(&source)?;
        let options = Arc::new(options);
        let workers = options.workers.max(1);
        let per_epoch = iterations_per_epoch.max(1);
        let mut loader = Self { batches: Vec::new(), threads: Vec::new(), turn: 0, data_wait: Duration::ZERO };
        for worker in 0..workers {
            let (sender, receiver) = sync_channel(AHEAD);
            let (source, options) = (Arc::clone(&source), Arc::clone(&options));
            let start = first.0 * per_epoch + first.1 + worker as u64;
            let places = (start..).step_by(workers).map(move |n| (n / per_epoch, n % per_epoch));
            let thread = Builder::new().name(format!("loader {worker}"));
            loader.threads.push(thread.spawn(move || work(&source, &options, places, &sender))?);
            loader.batches.push(receiver);
        }
        Ok(loader)
    }

    /// The next batch; waits until it is ready.
    ///
    /// # Errors
    /// When a case cannot be read or a worker panicked: names the case and the cause. Later calls fail, too.
    pub fn next_batch(&mut self) -> Result<Batch, Error> {
        let start = Instant::now();
        let worker = self.turn;
        // A worker that ends without a word has closed its channel, so this never waits forever.
        let batch = self.batches[worker].recv().unwrap_or(Err(Error::Ended { worker }))?;
        self.turn = (worker + 1) % self.batches.len();
        self.data_wait += start.elapsed();
        Ok(batch)
    }

    /// Time spent waiting in [`Self::next_batch`] since the last call of this.
    pub fn take_data_wait(&mut self) -> Duration {
        std::mem::take(&mut self.data_wait)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // Sending fails as soon as nobody can receive: that is how workers learn that they are done.
        self.batches.clear();
        for thread in self.threads.drain(..) {
            // A panic was already an error of `next_batch`.
            let _ = thread.join();
        }
    }
}

/// Makes the batches at `places` (epoch, iteration) until one fails or nobody wants them.
fn work(source: &Source, options: &LoaderOptions, places: impl Iterator<Item = (u64, u64)>, batches: &SyncSender<Result<Batch, Error>>) {
    for (epoch, iteration) in places {
        let batch = make_batch(source, options, epoch, iteration);
        let failed = batch.is_err();
        if batches.send(batch).is_err() || failed {
            return;
        }
    }
}

fn make_batch(source: &Source, options: &LoaderOptions, epoch: u64, iteration: u64) -> Result<Batch, Error> {
    let size = options.batch_size;
    let [depth, height, width] = options.patch;
    let mut image = Array::filled(vec![size, source.use_mask_for_norm.len(), depth, height, width], 0.0);
    let mut cases = Vec::with_capacity(size);
    let mut builders: Vec<_> = source.targets.values().map(|kind| TargetBuilder::new(kind, size, &options.levels)).collect();
    for index in 0..size {
        let sample = Sample::make(source, options, epoch, iteration, index)?;
        image.slot(index).copy_from_slice(sample.image.data());
        cases.push(sample.case);
        for (builder, target) in builders.iter_mut().zip(sample.targets) {
            if let Some(target) = target {
                builder.put(index, target);
            }
        }
    }
    let targets = source.targets.keys().cloned().zip(builders.into_iter().map(TargetBuilder::finish)).collect();
    Ok(Batch { image, cases, targets })
}
