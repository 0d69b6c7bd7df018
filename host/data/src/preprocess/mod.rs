//! Preprocessing: from the raw files of a case to the arrays that training reads.
//!
//! ```text
//! files ─ read and check ─ transpose ─ crop to nonzero ─ normalise ─ resample ─ locations of every class ─ store
//! ```
//!
//! The order and the numbers are those of nnU-Net's `DefaultPreprocessor`. All targets of a case go the same way as its
//! image, each by the rule of its kind. [`Preparation`] is what commands call: it does whatever has not been done for a data
//! set, from the fingerprint to the [store](CaseStore), and takes up where an interrupted run stopped.

mod case;
mod case_file;
mod error;
#[cfg(test)]
mod golden_tests;
mod key;
mod locations;
mod prepare;
mod run;
mod store;
#[cfg(test)]
mod tests;

pub use case::{CroppedCase, Inputs, PreprocessedCase, Properties, preprocess_image, preprocess_raw};
pub use case_file::StoredCase;
pub use error::Error;
pub use prepare::{Preparation, Prepared};
pub use run::preprocess_all;
pub use store::{CaseStore, Unused};
