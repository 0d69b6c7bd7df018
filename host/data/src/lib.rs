//! What is known before a tensor: data sets, plans, preprocessed cases, measures of predictions, and the formats of nnU-Net's models.
//!
//! ```text
//! raw data set ─ dataset ─ fingerprint ─ plan ─ preprocess ─→ store
//! predictions, references ─ evaluate ─ measure ─→ summary.json
//! nnU-Net's checkpoint_*.pth ─ pth ─→ names, tensors as bytes
//! ```
//! What a target consists of is its kind: each of [`kinds`] declares, reads, checks and measures itself, by the `entry` of `dataset.json` that it
//! is given, `read`, which opens the files of a case, and [`measure`]. `fault` has their errors, `labels` what nnU-Net means by labels.
//!
//! Nothing here needs libtorch. [`demo`] writes a data set of its own; [`parallel`], [`numpy`], [`name`], [`nearest`], [`hash`], [`lock`],
//! [`scratch`] and [`csv`] are what the folders above, and the program, share.

pub mod csv;
pub mod dataset;
pub mod demo;
mod entry;
pub mod evaluate;
mod fault;
pub mod fingerprint;
pub mod hash;
pub mod kinds;
mod labels;
pub mod lock;
pub mod measure;
pub mod name;
pub mod nearest;
pub mod numpy;
pub mod parallel;
pub mod plan;
pub mod preprocess;
pub mod pth;
mod read;
pub mod scratch;
