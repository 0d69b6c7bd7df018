//! Preprocesses all cases of a data set into a store, and only those that are not there yet.
//!
//! `store.json` holds a hash of everything besides the files of the cases that the arrays depend on. Where it differs, the
//! store is emptied first; a case is made anew when one of its files is not the one that it was made from.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::case::input_state;
use super::{CroppedCase, Error, StoredCase, case_path, write_case};
use crate::dataset::{Case, Dataset, Progress, Stage, TargetSource, for_each_case, write_json};
use crate::hash::sha256;
use crate::plan::{Configuration, Plans};

/// Counted up whenever the same input gives other arrays or another layout.
const VERSION: u32 = 3;
const KEY_FILE: &str = "store.json";

#[derive(Serialize, Deserialize)]
struct StoreKey {
    written_by: String,
    version: u32,
    /// SHA-256 of what the arrays depend on.
    key: String,
}

/// One configuration and the folder of its cases.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// How the cases are preprocessed.
    pub configuration: &'a Configuration,
    /// Where they go.
    pub store: &'a Path,
}

/// Preprocesses every case for every one of `jobs`, on `threads` threads; the files of a case are read once for all. Cases that
/// are there and up to date are left, so that an interrupted run goes on where it was; with `overwrite` none is.
///
/// A store that was made by other plans or labels is emptied first. Returns the stores' keys in the order of `jobs`: stores of equal
/// keys hold equal arrays of equal files.
///
/// # Errors
/// The first error that a case meets; what is complete stays.
pub fn preprocess_all(
    dataset: &Dataset,
    plans: &Plans,
    jobs: &[Job],
    threads: usize,
    overwrite: bool,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Vec<String>, Error> {
    let keys: Vec<StoreKey> = jobs.iter().map(|job| store_key(dataset, plans, job.configuration)).collect();
    for (job, key) in jobs.iter().zip(&keys) {
        open_store(job.store, key)?;
    }
    for_each_case(&dataset.cases, threads, Stage::Preprocess, progress, |case| -> Result<(), Error> {
        let is_stale = |job: &&Job| overwrite || !is_up_to_date(&case_path(job.store, &case.id), case, &dataset.folder);
        // Configurations may share a folder: a cascade's data is that of the full resolution.
        let mut stale: Vec<&Job> = jobs.iter().filter(is_stale).collect();
        stale.sort_by_key(|job| job.store);
        stale.dedup_by_key(|job| job.store);
        if stale.is_empty() {
            return Ok(());
        }
        let cropped = CroppedCase::read(case, dataset, plans)?;
        for Job { configuration, store } in stale {
            write_case(&case_path(store, &case.id), &cropped.preprocess(plans, configuration)?, configuration.patch_zyx())?;
        }
        imaging::failpoint::reached(format_args!("preprocess.case"));
        Ok(())
    })?;
    Ok(keys.into_iter().map(|key| key.key).collect())
}

/// Refuses a configuration whose folder would hold other arrays for another configuration of the same plans.
pub(super) fn check_identifier(dataset: &Dataset, plans: &Plans, name: &str, configuration: &Configuration) -> Result<(), Error> {
    let key = store_key(dataset, plans, configuration).key;
    for other in plans.configurations.keys().filter(|other| *other != name) {
        // One that is broken is refused when it is asked for.
        let Ok(found) = plans.configuration(other) else { continue };
        if found.data_identifier == configuration.data_identifier && store_key(dataset, plans, &found).key != key {
            let identifier = found.data_identifier.to_string();
            return Err(Error::SharedIdentifier { name: name.to_owned(), other: other.to_string(), identifier });
        }
    }
    Ok(())
}

/// The key without what does not change the arrays: configurations with other batch or patch sizes share a store.
fn store_key(dataset: &Dataset, plans: &Plans, configuration: &Configuration) -> StoreKey {
    let described = &dataset.description.json;
    let of_dataset = ["channel_names", "modality", "labels", "regions_class_order", "file_ending"];
    let description: Vec<&Value> = of_dataset.iter().map(|key| described.get(key).unwrap_or(&Value::Null)).collect();
    let maps = dataset.description.targets.iter().filter(|(_, target)| matches!(target.source, TargetSource::Maps(_)));
    // What becomes of the values afterwards (pad, optional, …) leaves the arrays alone.
    let of_target = ["labels", "regions_class_order", "channels", "vectors"];
    let targets: Vec<Value> = maps
        .map(|(name, _)| {
            let entry = &described["targets"][name];
            json!([name, of_target.map(|key| entry.get(key).cloned().unwrap_or_default())])
        })
        .collect();
    let content = json!({
        "version": VERSION,
        "dataset": description,
        "targets": targets,
        "transpose_forward": plans.transpose_forward,
        "intensities": plans.foreground_intensity_properties_per_channel,
        "spacing": configuration.spacing,
        "normalization_schemes": configuration.normalization_schemes,
        "use_mask_for_norm": configuration.use_mask_for_norm,
        "resampling_fn_data_kwargs": configuration.resampling_fn_data_kwargs,
        "resampling_fn_seg_kwargs": configuration.resampling_fn_seg_kwargs,
    });
    StoreKey { written_by: concat!("host ", env!("CARGO_PKG_VERSION")).to_owned(), version: VERSION, key: sha256(content.to_string()) }
}

/// Makes sure that whatever is in the folder belongs to `key`.
fn open_store(store: &Path, key: &StoreKey) -> Result<(), Error> {
    // Another program may be at work here.
    imaging::io::remove_leftovers(store, imaging::io::ABANDONED);
    let key_file = store.join(KEY_FILE);
    if read_key(&key_file)?.is_some_and(|existing| existing.version == key.version && existing.key == key.key) {
        return Ok(());
    }
    // Cases go before the new key comes: a run that is killed in between leaves no old case under it.
    if store.is_dir() {
        let access = |source| Error::Access { path: store.to_path_buf(), source };
        let mut removed = 0;
        for entry in std::fs::read_dir(store).map_err(access)? {
            let path = entry.map_err(access)?.path();
            if path.to_str().is_some_and(|path| path.ends_with(super::store::ENDING)) {
                std::fs::remove_file(&path).map_err(|source| Error::Access { path: path.clone(), source })?;
                removed += 1;
            }
        }
        if removed > 0 {
            log::warn!("{}: {removed} cases were made by other plans or labels and are made anew", store.display());
        }
    }
    imaging::io::write_atomically(&key_file, |out| write_json(out, key))?;
    Ok(())
}

/// The key of a store; none where there is no store, or one of another form.
fn read_key(path: &Path) -> Result<Option<StoreKey>, Error> {
    match std::fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Access { path: path.to_path_buf(), source }),
    }
}

fn is_up_to_date(path: &Path, case: &Case, folder: &Path) -> bool {
    StoredCase::open(path).is_ok_and(|stored| stored.inputs() == input_state(case.files(), folder) && stored.has_targets_of(case))
}
