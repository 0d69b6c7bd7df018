//! What a person sees of a run: lines on the console and in `log.txt`, a record an epoch in `metrics.jsonl` and for TensorBoard, charts and
//! pictures.

mod bar;
pub mod chart;
pub mod comparison;
mod growing;
pub mod picture;
pub mod progress;
mod record;
mod run_log;
pub mod runs;
pub mod table;
mod tensorboard;

pub use bar::Bar;
pub use record::{EpochRecord, TermMean};
pub use run_log::{LogError, RunLog, format_duration, read_records};
