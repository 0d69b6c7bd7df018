//! Worker threads that make batches ahead of time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::cases::Cases;
use super::sample::{Drawn, Maker, Place, Times, report_panic};
use super::stage::{Sample, Stage};
use super::{Batch, Error, LoaderOptions, Source};

/// Batches that a worker may have ready.
const AHEAD: usize = 2;

/// Batches that a worker has memory for: those that are ready, the one that it is working on, and the one that is given out.
const BATCHES: usize = AHEAD + 2;

/// An endless sequence of batches.
///
/// Of `n` workers, worker `w` makes the batches `w`, `w + n`, `w + 2n`, … and has channels of its own: one on which batches come, one
/// on which they go back to be filled again. Taking from them in turn gives the batches in order without any sorting.
/// Dropping the loader stops the workers and waits for them. Each sample goes through the [`Stage`] `S`, if one is named.
#[derive(Debug)]
pub struct Loader<S: Stage = ()> {
    workers: Vec<Worker<S>>,
    threads: Vec<JoinHandle<()>>,
    /// The worker whose turn it is.
    turn: usize,
    /// The batch that was given out last, and the worker it goes back to.
    lent: Option<(usize, Made<S>)>,
    waited: Duration,
    times: Times,
}

/// A batch, and what the stage has made of it.
type Made<S> = (Batch, <S as Stage>::Made);

#[derive(Debug)]
struct Worker<S: Stage> {
    batches: Receiver<Result<(Made<S>, Times), Error>>,
    used: Sender<Made<S>>,
}

impl Loader {
    /// Starts the workers. The first batch is that of `first`, an epoch and an iteration of it.
    ///
    /// # Errors
    /// When options contradict each other or the source, a case cannot be read that balancing classes needs, or a thread cannot be started.
    pub fn start(source: Arc<Source>, options: LoaderOptions, iterations_per_epoch: u64, first: (u64, u64)) -> Result<Self, Error> {
        Self::with_stage(source, options, Arc::new(()), iterations_per_epoch, first)
    }
}

impl<S: Stage> Loader<S> {
    /// The same, with a stage after it.
    ///
    /// # Errors
    /// As [`Loader::start`].
    pub fn with_stage(
        source: Arc<Source>,
        options: LoaderOptions,
        stage: Arc<S>,
        iterations_per_epoch: u64,
        first: (u64, u64),
    ) -> Result<Self, Error> {
        options.check(&source)?;
        let cases = Arc::new(Cases::new(&source, &options)?);
        let options = Arc::new(options);
        let workers = options.workers.max(1);
        let per_epoch = iterations_per_epoch.max(1);
        let mut loader =
            Self { workers: Vec::new(), threads: Vec::new(), turn: 0, lent: None, waited: Duration::ZERO, times: Times::default() };
        for worker in 0..workers {
            let ((sender, batches), (used, returned)) = (sync_channel(AHEAD), channel());
            let (making, stage) =
                (Making { source: Arc::clone(&source), cases: Arc::clone(&cases), options: Arc::clone(&options) }, Arc::clone(&stage));
            let start = first.0 * per_epoch + first.1 + worker as u64;
            let places = (start..).step_by(workers).map(move |n| (n / per_epoch, n % per_epoch));
            let thread = Builder::new().name(format!("loader {worker}"));
            loader.threads.push(thread.spawn(move || work(&making, &*stage, places, &sender, &returned))?);
            loader.workers.push(Worker { batches, used });
        }
        Ok(loader)
    }

    /// The next batch; waits until it is ready. Its memory is used again after the next call.
    ///
    /// # Errors
    /// When a case cannot be read or a worker panicked: names the case and the cause. Later calls fail, too.
    pub fn next_batch(&mut self) -> Result<&Batch, Error> {
        Ok(self.next_with_stage()?.0)
    }

    /// The same, and what the stage has made of it.
    ///
    /// # Errors
    /// As [`Self::next_batch`].
    pub fn next_with_stage(&mut self) -> Result<(&Batch, &S::Made), Error> {
        if let Some((worker, batch)) = self.lent.take() {
            // A worker that has ended needs no memory.
            let _ = self.workers[worker].used.send(batch);
        }
        let start = Instant::now();
        let worker = self.turn;
        // A worker that ends without a word has closed its channel, so this never waits forever.
        let (batch, times) = self.workers[worker].batches.recv().unwrap_or(Err(Error::Ended { worker }))?;
        self.turn = (worker + 1) % self.workers.len();
        self.waited += start.elapsed();
        self.times += times;
        let (batch, made) = &self.lent.insert((worker, batch)).1;
        Ok((batch, made))
    }

    /// Time spent waiting in [`Self::next_batch`], and what the workers took for the batches it gave, since the last call of this.
    pub fn take_times(&mut self) -> (Duration, Times) {
        (std::mem::take(&mut self.waited), std::mem::take(&mut self.times))
    }
}

impl<S: Stage> Drop for Loader<S> {
    fn drop(&mut self) {
        // Sending fails as soon as nobody can receive: that is how workers learn that they are done.
        self.workers.clear();
        for thread in self.threads.drain(..) {
            // A panic was already an error of `next_batch`.
            let _ = thread.join();
        }
    }
}

/// What a worker makes batches of.
struct Making {
    source: Arc<Source>,
    cases: Arc<Cases>,
    options: Arc<LoaderOptions>,
}

/// Makes the batches at `places` (epoch, iteration) until one fails or nobody wants them.
fn work<S: Stage>(
    making: &Making,
    stage: &S,
    places: impl Iterator<Item = (u64, u64)>,
    batches: &SyncSender<Result<(Made<S>, Times), Error>>,
    returned: &Receiver<Made<S>>,
) {
    let mut maker = Maker::default();
    let Making { source, options, .. } = making;
    // New memory comes first, all that there will be, whether batches have come back by then or not: what a run takes does not depend on which thread
    // is faster. Later none has to be waited for: of those that were sent, at most AHEAD are ready and one is given out.
    let memory = (0..BATCHES).map(|_| (Batch::new(source, options), stage.memory(options))).chain(returned);
    for (place, mut batch) in places.zip(memory) {
        let made = fill(&mut maker, making, stage, place, &mut batch);
        let failed = made.is_err();
        let times = std::mem::take(&mut maker.times);
        if batches.send(made.map(|()| (batch, times))).is_err() || failed {
            return;
        }
    }
}

/// Makes every sample of a batch, and every sample all anew: nothing of what the memory held before is left.
fn fill<S: Stage>(
    maker: &mut Maker,
    Making { source, cases, options }: &Making,
    stage: &S,
    (epoch, iteration): (u64, u64),
    (batch, made): &mut Made<S>,
) -> Result<(), Error> {
    for (index, number) in options.share.of_batch(options.batch_size).enumerate() {
        let start = Instant::now();
        let Drawn { case, stored, recipe, seed } = Place { epoch, iteration, index: number }.draw(source, cases, options)?;
        // Cases are opened and voxels of a class looked up; to draw the rest takes no time.
        maker.times.read += start.elapsed();
        let id = cases.id(case);
        report_panic(id, || {
            maker.make(source, options, (id, &stored), &recipe, (batch, index))?;
            if stage.is_idle() {
                return Ok(());
            }
            let start = Instant::now();
            let (phase, size, spacing) = (options.phase, options.patch, source.spacing);
            let sample = Sample { index, case: id, seed, phase, size, spacing, inside: maker.inside(&recipe, size) };
            stage.make(&sample, batch, made)?;
            maker.times.augment += start.elapsed();
            Ok(())
        })?;
    }
    batch.finish();
    stage.finish(made);
    Ok(())
}

/// The first batch, once as it would be without augmentation and once as it is.
///
/// # Errors
/// As [`Loader::start`] and [`Loader::next_batch`].
pub fn preview(source: &Source, options: &LoaderOptions) -> Result<[Batch; 2], Error> {
    options.check(source)?;
    let cases = Cases::new(source, options)?;
    let mut maker = Maker::default();
    let mut batches = [Batch::new(source, options), Batch::new(source, options)];
    for (index, number) in options.share.of_batch(options.batch_size).enumerate() {
        let Drawn { case, stored, recipe, .. } = Place { epoch: 0, iteration: 0, index: number }.draw(source, &cases, options)?;
        for (batch, recipe) in batches.iter_mut().zip([recipe.plain(), recipe]) {
            let id = cases.id(case);
            report_panic(id, || maker.make(source, options, (id, &stored), &recipe, (batch, index)))?;
        }
    }
    batches.iter_mut().for_each(Batch::finish);
    Ok(batches)
}
