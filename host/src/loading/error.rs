//! Why a batch cannot be made.

use data::preprocess;

/// Why a batch cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Options contradict each other or the source.
    #[error("loading: found {found}, expected {expected}")]
    Options {
        /// What was given.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The pipeline cannot be carried out.
    #[error("augmentation: {0}")]
    Augmentation(#[from] imaging::augment::Error),
    /// There is no such pipeline.
    #[error("{place}: {cause}")]
    Pipeline {
        /// The flag with its value, or that a plugin asks for it.
        place: String,
        /// Why not.
        cause: String,
    },
    /// Foreground is to be found in a target that has no labels.
    #[error("loading: found foreground target {found:?}, expected a labels target: {known}")]
    Foreground {
        /// The name that was given.
        found: String,
        /// Names that would do.
        known: String,
    },
    /// A preprocessed case cannot be read.
    #[error("case {case}: {source}")]
    Read {
        /// Id of the case.
        case: String,
        /// Why.
        source: Box<preprocess::Error>,
    },
    /// The stage after the loader fails.
    #[error("case {case}: {source}")]
    Stage {
        /// Which part of it.
        part: usize,
        /// Id of the case.
        case: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A preprocessed case is not what data set and plans say.
    #[error("case {case}: {found}, expected {expected}; the store is out of date, remove it to have it made anew")]
    Content {
        /// Id of the case.
        case: String,
        /// What the store has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// A defect of this program.
    #[error("case {case}: a loader thread panicked ({cause}); this is a defect, please report it with the data key")]
    Panic {
        /// Id of the case that was being loaded.
        case: String,
        /// The panic's message.
        cause: String,
    },
    /// A thread cannot be started.
    #[error("loading: cannot start a thread ({0}); use fewer workers")]
    Thread(#[from] std::io::Error),
    /// Batches were asked for after a worker had failed.
    #[error("loading: worker {worker} has ended; if no error was reported before, this is a defect")]
    Ended {
        /// Number of the worker.
        worker: usize,
    },
}
