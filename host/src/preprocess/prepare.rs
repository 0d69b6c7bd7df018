//! Everything that has to be there before training: fingerprint, plans, splits and preprocessed cases.

use std::path::{Path, PathBuf};

use super::{Error, preprocess_all};
use crate::dataset::{self, Dataset, Progress, splits, write_json};
use crate::fingerprint::{self, Fingerprint};
use crate::plan::{Configuration, Plans, plan_default};

/// A data set that is ready for training.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// `<preprocessed>/<dataset>`: plans, fingerprint, `dataset.json` and splits.
    pub folder: PathBuf,
    /// The fingerprint.
    pub fingerprint: Fingerprint,
    /// The plans.
    pub plans: Plans,
    /// The configuration that was asked for, inheritance resolved.
    pub configuration: Configuration,
    /// Folder of the preprocessed cases, one file each.
    pub store: PathBuf,
    /// What its arrays follow from, as a hash.
    pub store_key: String,
}

/// Does for `dataset` whatever has not been done below `preprocessed_root`: fingerprint, plans, splits, preprocessing of the
/// configuration. Files that are there, nnU-Net's own included, are used as they are.
///
/// # Errors
/// When a file of the data set or one that is already there is broken, the configuration does not exist, or nothing can be
/// written. What is complete by then stays and is not done again.
pub fn prepare(
    dataset: &Dataset,
    preprocessed_root: &Path,
    plans_name: &str,
    configuration: &str,
    threads: usize,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Prepared, Error> {
    let folder = preprocessed_root.join(&dataset.name);
    copy_description(dataset, &folder)?;
    let fingerprint = load_or_extract(dataset, &folder, threads, progress)?;
    let plans = load_or_plan(dataset, &fingerprint, &folder, plans_name)?;
    let configuration = plans.configuration(configuration)?;
    match splits::load_or_create_splits(&folder, &dataset.folder, &dataset.case_ids()) {
        // Few cases can still be trained on all at once; asking for a fold of them is refused then.
        Ok(_) | Err(dataset::Error::TooFewCases { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    // Beside nnU-Net's own arrays, never inside their folder: it takes every file there for a case.
    let store = folder.join(format!("{}.store", configuration.data_identifier));
    let store_key = preprocess_all(dataset, &plans, &configuration, &store, threads, progress)?;
    Ok(Prepared { folder, fingerprint, plans, configuration, store, store_key })
}

/// nnU-Net expects `dataset.json` beside the plans.
fn copy_description(dataset: &Dataset, folder: &Path) -> Result<(), Error> {
    let path = folder.join("dataset.json");
    match std::fs::read(&path) {
        Err(_) => {
            imaging::io::write_atomically(&path, |out| write_json(out, &dataset.description.json))?;
        }
        Ok(text) => {
            if serde_json::from_slice::<serde_json::Value>(&text).ok().as_ref() != Some(&dataset.description.json) {
                log::warn!(
                    "{}: differs from the dataset.json of the raw data, so the plans beside it may be out of date; remove both to plan anew",
                    path.display()
                );
            }
        }
    }
    Ok(())
}

fn load_or_extract(dataset: &Dataset, folder: &Path, threads: usize, progress: &(dyn Fn(Progress) + Sync)) -> Result<Fingerprint, Error> {
    let path = folder.join("dataset_fingerprint.json");
    if path.is_file() {
        let fingerprint = Fingerprint::read(&path)?;
        let (found, cases) = (fingerprint.spacings.len(), dataset.cases.len());
        if found != cases {
            log::warn!("{}: describes {found} cases, the data set has {cases}; remove it and the plans to plan anew", path.display());
        }
        return Ok(fingerprint);
    }
    let fingerprint = fingerprint::extract(dataset, threads, progress)?;
    fingerprint.write(&path)?;
    Ok(fingerprint)
}

fn load_or_plan(dataset: &Dataset, fingerprint: &Fingerprint, folder: &Path, name: &str) -> Result<Plans, Error> {
    let path = folder.join(format!("{name}.json"));
    if path.is_file() {
        return Ok(Plans::read(&path)?);
    }
    let plans = plan_default(fingerprint, dataset, name)?;
    plans.write(&path, false)?;
    Ok(plans)
}
