//! One short word for everything that batches depend on.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{LoaderOptions, Source};

/// Raised whenever this program makes other batches of the same data with the same options.
const REVISION: u32 = 1;

#[derive(Serialize)]
struct Content<'a> {
    revision: u32,
    store: &'a str,
    cases: &'a [String],
    /// Names with kinds: they decide on the form of the arrays.
    targets: Vec<(&'a str, String)>,
    use_mask_for_norm: &'a [bool],
    options: &'a LoaderOptions,
}

/// The data key, 16 hexadecimal digits: a hash of cases, store, sampler, augmentation and seed, but not of the number of
/// workers. Runs with equal keys see identical batches at the same epoch and iteration.
pub fn data_key(source: &Source, options: &LoaderOptions) -> String {
    let content = Content {
        revision: REVISION,
        store: &source.key,
        cases: &source.cases,
        targets: source.targets.iter().map(|(name, kind)| (name.as_str(), format!("{kind:?}"))).collect(),
        use_mask_for_norm: &source.use_mask_for_norm,
        options,
    };
    // Serialising plain data into memory cannot fail; numbers that JSON lacks become null.
    let text = serde_json::to_vec(&content).unwrap_or_default();
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
