//! One short word for everything that batches depend on.

use serde::Serialize;

use super::{LoaderOptions, Source};
use data::dataset::{Target, TargetSource};
use data::hash::sha256;

/// Raised whenever this program makes other batches of the same data with the same options.
const REVISION: u32 = 2;

#[derive(Serialize)]
struct Content<'a> {
    revision: u32,
    store: &'a str,
    cases: &'a [String],
    /// Names with kinds, which decide on the form of the arrays, and how derived ones are made.
    targets: Vec<(&'a str, String)>,
    spacing: [f64; 3],
    use_mask_for_norm: &'a [bool],
    options: &'a LoaderOptions,
}

/// The data key, 16 hexadecimal digits: a hash of cases, store, sampler, augmentation and seed, but not of the number of
/// workers, nor of what plugins make of the batches. Runs with equal keys see identical batches at the same epoch and iteration.
pub fn data_key(source: &Source, options: &LoaderOptions) -> String {
    let content = Content {
        revision: REVISION,
        store: &source.key,
        cases: &source.cases,
        targets: source.targets.iter().map(|(name, target)| (name.as_str(), describe(target))).collect(),
        spacing: source.spacing,
        use_mask_for_norm: &source.use_mask_for_norm,
        options,
    };
    // Serialising plain data into memory cannot fail; numbers that JSON lacks become null.
    let text = serde_json::to_vec(&content).unwrap_or_default();
    let mut key = sha256(text);
    key.truncate(16);
    key
}

fn describe(target: &Target) -> String {
    match &target.source {
        TargetSource::Derived { from, operation } => format!("{:?} by {operation:?} of {from}", target.kind),
        TargetSource::Maps(_) | TargetSource::OneFile(_) => format!("{:?}", target.kind),
    }
}
