//! What a person sees of a run: lines on the console and in `log.txt`, one JSON record an epoch in `metrics.jsonl`, pictures.

mod bar;
pub mod picture;
mod run_log;

pub use bar::Bar;
pub use run_log::{LogError, RunLog, format_duration};
