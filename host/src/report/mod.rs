//! What a person sees of a run, and of several.
//!
//! ```text
//! training ─ EpochRecord ─ RunLog ─→ console, log.txt, metrics.jsonl, TensorBoard, progress.png
//! batches, predictions ─ picture ─→ PNG
//! metrics.jsonl, summary.json of many runs ─ runs, comparison ─→ tables, charts
//! ```

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
