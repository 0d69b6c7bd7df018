//! What is known before a tensor: data sets, plans, preprocessed cases, measures of predictions, and the formats of nnU-Net's models.
//!
//! ```text
//! raw data set ─ dataset ─ fingerprint ─ plan ─ preprocess ─→ store
//! predictions, references ─ evaluate ─→ summary.json
//! nnU-Net's checkpoint_*.pth ─ pth ─→ names, tensors as bytes
//! ```
//! Nothing here needs libtorch. [`demo`] writes a data set of its own; [`parallel`], [`numpy`], [`name`], [`nearest`], [`hash`], [`lock`],
//! [`scratch`] and [`csv`] are what the folders above, and the program, share.

pub mod csv;
pub mod dataset;
pub mod demo;
pub mod evaluate;
pub mod fingerprint;
pub mod hash;
pub mod lock;
pub mod name;
pub mod nearest;
pub mod numpy;
pub mod parallel;
pub mod plan;
pub mod preprocess;
pub mod pth;
pub mod scratch;
