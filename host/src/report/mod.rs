//! What a person sees of a run: lines on the console and in `log.txt`, one JSON record an epoch in `metrics.jsonl`, pictures.

pub mod overlay;
mod progress;
mod run_log;

pub use progress::Progress;
pub use run_log::{EpochRecord, RunLog, format_duration};
