//! The folder of a configuration's cases: which one it is, what it holds, who uses it.
//!
//! ```text
//! <preprocessed>/<dataset>/<data_identifier>-<key>.store/    <key>: the first digits of the store's key
//!     store.json         the whole key; locked while the store is used
//!     <case>.zarr.zip    the key once more, and of which files the case was made
//!     inputs.json        states of raw files that are known to have the content that a case was made of
//! ```
//! Another key is another folder: plans or labels that change never touch what a training reads. `<data_identifier>.store` is how
//! versions up to 2026-11 called it; one that fits is used as it is, and nothing is written into it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::case::{Inputs, content_of, state_of};
use super::key::{UNNAMED_VERSION, VERSION, data_key_part, store_key};
use super::store::{ENDING, write_case};
use super::{Error, PreprocessedCase, StoredCase};
use crate::dataset::{Case, Dataset, write_json};
use crate::lock::{Lock, Sharing};
use crate::plan::{Configuration, Plans};

const KEY_FILE: &str = "store.json";
const KNOWN_FILE: &str = "inputs.json";
/// Digits of the key in the folder's name.
const SHORT: usize = 8;

#[derive(Serialize, Deserialize)]
struct StoreKey {
    written_by: String,
    version: u32,
    /// SHA-256 of what the arrays depend on.
    key: String,
}

/// A folder of preprocessed cases, all of one key.
#[derive(Clone, Debug)]
pub struct CaseStore {
    folder: PathBuf,
    key: String,
    /// Held while the store is used, so that nobody replaces or removes what is in it.
    _used: Option<Arc<Lock>>,
}

impl CaseStore {
    /// The cases in `folder`, which were made by `key`.
    pub fn new(folder: &Path, key: &str) -> Self {
        Self { folder: folder.to_owned(), key: key.to_owned(), _used: None }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of a case.
    pub fn path(&self, case_id: &str) -> PathBuf {
        self.folder.join(format!("{case_id}{ENDING}"))
    }

    /// Opens a case.
    ///
    /// # Errors
    /// When its file cannot be opened, is none of a case, or holds arrays of another key.
    pub fn open(&self, case_id: &str) -> Result<StoredCase, Error> {
        let path = self.path(case_id);
        let case = StoredCase::open(&path)?;
        let found = match case.key() {
            Some(key) => key.to_owned(),
            // Of an earlier version, which changes the key of the folder before it writes cases of another one.
            None => read_key(&self.folder)?.map(|key| key.key).unwrap_or_default(),
        };
        if found == self.key { Ok(case) } else { Err(Error::OtherStore { path }) }
    }

    /// Writes a case, whose file appears complete or not at all. Chunks are made for reading boxes of size `patch` (z, y, x), which
    /// changes nothing but how long that takes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, case_id: &str, case: &PreprocessedCase, patch: [usize; 3]) -> Result<(), Error> {
        write_case(&self.path(case_id), case, patch, &self.key)
    }
}

/// A store that is being filled.
pub(super) struct Filling<'a> {
    pub(super) store: CaseStore,
    dataset: &'a Dataset,
    overwrite: bool,
    /// `Some(None)` where another program uses it.
    alone: Mutex<Option<Option<Lock>>>,
    known: BTreeMap<String, String>,
    learnt: Mutex<BTreeMap<String, String>>,
}

impl<'a> Filling<'a> {
    /// The store of `configuration` below `folder`, which is made unless it is there. What an earlier version made is taken if it is
    /// complete.
    pub(super) fn open(
        folder: &Path,
        dataset: &'a Dataset,
        plans: &Plans,
        configuration: &Configuration,
        overwrite: bool,
    ) -> Result<Self, Error> {
        let identifier = &configuration.data_identifier;
        let filling = |store| Self {
            known: read_json(&store_file(&store, KNOWN_FILE)).unwrap_or_default(),
            store,
            dataset,
            overwrite,
            alone: Mutex::new(None),
            learnt: Mutex::default(),
        };
        let unnamed = CaseStore::new(&folder.join(format!("{identifier}.store")), &data_key_part(dataset, plans, configuration));
        let is_it = |found: StoreKey| found.version == UNNAMED_VERSION && found.key == unnamed.key;
        if !overwrite && read_key(&unnamed.folder)?.is_some_and(is_it) {
            let unnamed = filling(unnamed);
            if dataset.cases.iter().all(|case| unnamed.has(case)) {
                return Ok(unnamed);
            }
        }
        let key = store_key(dataset, plans, configuration);
        let store = CaseStore::new(&folder.join(format!("{identifier}-{}.store", &key[..SHORT])), &key);
        let key_file = store_file(&store, KEY_FILE);
        match read_key(&store.folder)? {
            Some(found) if found.key == key => {}
            None if !key_file.exists() => {
                let written_by = concat!("host ", env!("CARGO_PKG_VERSION")).to_owned();
                imaging::io::write_atomically(&key_file, |out| write_json(out, &StoreKey { written_by, version: VERSION, key }))?;
            }
            _ => return Err(Error::OtherStore { path: key_file }),
        }
        // Another program may be at work here.
        imaging::io::remove_leftovers(&store.folder, imaging::io::ABANDONED);
        Ok(filling(store))
    }

    /// Whether a case has to be made. Where only the times of its files differ, contents are compared.
    pub(super) fn lacks(&self, case: &Case) -> bool {
        self.overwrite || !self.has(case)
    }

    fn has(&self, case: &Case) -> bool {
        let Ok(stored) = self.store.open(&case.id) else { return false };
        if !stored.has_targets_of(case) {
            return false;
        }
        let Inputs { state, content } = stored.inputs();
        let now = state_of(case.files(), &self.dataset.folder);
        if *state == now || self.known.get(case.id.as_str()) == Some(&now) {
            return true;
        }
        let same = content.is_some() && *content == content_of(case.files(), &self.dataset.folder);
        if same {
            self.learnt.lock().unwrap_or_else(PoisonError::into_inner).insert(case.id.to_string(), now);
        }
        same
    }

    /// Writes a case. One that is there is replaced only where no other program uses the store.
    pub(super) fn write(&self, case: &Case, preprocessed: &PreprocessedCase, patch: [usize; 3]) -> Result<(), Error> {
        if self.store.path(&case.id).exists() {
            let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
            if alone.is_none() {
                *alone = Some(lock(&self.store.folder, Sharing::Exclusive)?);
            }
            if matches!(*alone, Some(None)) {
                return Err(Error::InUse { path: self.store.path(&case.id) });
            }
        }
        self.store.write(&case.id, preprocessed, patch)
    }

    /// The store, now in use.
    pub(super) fn done(self) -> Result<CaseStore, Error> {
        let learnt = self.learnt.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !learnt.is_empty() {
            let known: BTreeMap<String, String> = self.known.into_iter().chain(learnt).collect();
            // Else contents are compared once more.
            let _ = imaging::io::write_atomically(&store_file(&self.store, KNOWN_FILE), |out| write_json(out, &known));
        }
        drop(self.alone);
        match lock(&self.store.folder, Sharing::Shared)? {
            Some(lock) => Ok(CaseStore { _used: Some(Arc::new(lock)), ..self.store }),
            None => Err(Error::InUse { path: self.store.folder }),
        }
    }
}

/// A store that no configuration of the plans has any more.
#[derive(Debug)]
pub struct Unused {
    /// Its folder.
    pub folder: PathBuf,
    /// Its cases.
    pub cases: usize,
    /// Its size in bytes.
    pub bytes: u64,
    /// Whether it was removed; one that another program uses is not.
    pub removed: bool,
}

/// Removes the stores in `folder` that belong to none of `current`, pairs of plans and configuration.
pub(super) fn clean<'a>(
    folder: &Path,
    dataset: &Dataset,
    current: impl Iterator<Item = (&'a Plans, &'a Configuration)>,
) -> Result<Vec<Unused>, Error> {
    let keys: Vec<[String; 2]> = current
        .map(|(plans, configuration)| [store_key(dataset, plans, configuration), data_key_part(dataset, plans, configuration)])
        .collect();
    let mut unused = Vec::new();
    for name in crate::dataset::visible_names(folder)?.into_iter().filter(|name| name.ends_with(".store")) {
        let path = folder.join(name);
        let Some(found) = read_key(&path)?.filter(|found| !keys.iter().flatten().any(|key| *key == found.key)) else { continue };
        let access = |source| Error::Access { path: path.clone(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(access)? {
            let entry = entry.map_err(access)?;
            files.push((entry.path(), entry.metadata().map_err(access)?.len()));
        }
        let is_case = |(path, _): &&(PathBuf, u64)| path.to_str().is_some_and(|path| path.ends_with(ENDING));
        let (cases, bytes) = (files.iter().filter(is_case).count(), files.iter().map(|(_, bytes)| bytes).sum());
        let alone = lock(&path, Sharing::Exclusive)?;
        if alone.is_some() {
            log::debug!("{}: written by {}, key {}", path.display(), found.written_by, found.key);
            // The key goes last: until then the folder is a store that lacks cases.
            let (key_file, others): (Vec<_>, Vec<_>) = files.into_iter().map(|(path, _)| path).partition(|path| path.ends_with(KEY_FILE));
            for file in others.into_iter().chain(key_file) {
                std::fs::remove_file(&file).map_err(|source| Error::Access { path: file.clone(), source })?;
            }
            std::fs::remove_dir(&path).map_err(access)?;
        }
        unused.push(Unused { folder: path, cases, bytes, removed: alone.is_some() });
    }
    Ok(unused)
}

fn lock(store: &Path, sharing: Sharing) -> Result<Option<Lock>, Error> {
    let path = store.join(KEY_FILE);
    Lock::take(&path, sharing).map_err(|source| Error::Access { path, source })
}

fn store_file(store: &CaseStore, name: &str) -> PathBuf {
    store.folder.join(name)
}

/// The key of a store; none where there is no store, or one of another form.
fn read_key(store: &Path) -> Result<Option<StoreKey>, Error> {
    let path = store.join(KEY_FILE);
    match imaging::io::read_file(&path) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Access { path, source }),
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&imaging::io::read_file(path).ok()?).ok()
}
