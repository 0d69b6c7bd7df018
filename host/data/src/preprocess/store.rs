//! The folder of a configuration's cases: which one it is, what it holds, who uses it.
//!
//! ```text
//! <preprocessed>/<dataset>/<data_identifier>-<key>.store/    <key>: the first digits of the store's key
//!     store.json         the whole key; locked while the store is used
//!     <case>.zarr.zip    the key once more, and of which files the case was made
//!     inputs.json        states of raw files, and the content that they are known to have
//! ```
//! Another key is another folder: plans or labels that change never touch what a training reads. `<data_identifier>.store` is how
//! versions up to 2026-11 called it; one that fits is used as it is, and nothing is written into it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use imaging::io::{JsonError, read_json};
use serde::{Deserialize, Serialize};

use super::case::{Inputs, content_of, state_of};
use super::case_file::{ENDING, write_case};
use super::key::{UNNAMED_VERSION, VERSION, data_key_part, store_key};
use super::{Error, PreprocessedCase, StoredCase};
use crate::dataset::{Case, Dataset};
use crate::lock::{Lock, Sharing};
use crate::name::Name;
use crate::plan::{Configuration, Plans};
use imaging::io::write_json;

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
    store: CaseStore,
    dataset: &'a Dataset,
    overwrite: bool,
    hold: Mutex<Hold>,
    known: BTreeMap<String, Inputs>,
    learnt: Mutex<BTreeMap<String, Inputs>>,
}

/// How a store that is being filled is held: others may read it until the first case has to be replaced.
enum Hold {
    Shared(Lock),
    Alone {
        _lock: Lock,
    },
    /// Another program uses it, too.
    Used,
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
        let filling = |store: CaseStore| {
            let Some(lock) = lock(&store.folder, Sharing::Shared)? else { return Err(Error::Replacing { path: store.folder }) };
            let known = read_json(&store.folder.join(KNOWN_FILE)).unwrap_or_default();
            Ok(Self { known, store, dataset, overwrite, hold: Mutex::new(Hold::Shared(lock)), learnt: Mutex::default() })
        };
        let unnamed = CaseStore::new(&unnamed_folder(folder, identifier), &data_key_part(dataset, plans, configuration));
        let is_it = |found: StoreKey| found.version == UNNAMED_VERSION && found.key == unnamed.key;
        if !overwrite && read_key(&unnamed.folder)?.is_some_and(is_it) {
            let unnamed = filling(unnamed)?;
            if dataset.cases.iter().all(|case| unnamed.has(case)) {
                return Ok(unnamed);
            }
        }
        let key = store_key(dataset, plans, configuration);
        let store = CaseStore::new(&named_folder(folder, identifier, &key), &key);
        let key_file = store.folder.join(KEY_FILE);
        match read_key(&store.folder)? {
            Some(found) if found.key == key => {}
            None if !key_file.exists() => {
                let written_by = concat!("host ", env!("CARGO_PKG_VERSION")).to_owned();
                write_json(&key_file, &StoreKey { written_by, version: VERSION, key })?;
            }
            _ => return Err(Error::OtherStore { path: key_file }),
        }
        // Another program may be at work here.
        imaging::io::remove_leftovers(&store.folder, imaging::io::ABANDONED);
        filling(store)
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        self.store.folder()
    }

    /// Whether a case has to be made. Where only the times of its files differ, contents are compared.
    ///
    /// # Errors
    /// When its file would be replaced while another program uses the store.
    pub(super) fn lacks(&self, case: &Case) -> Result<bool, Error> {
        let lacks = self.overwrite || !self.has(case);
        if lacks && self.store.path(&case.id).exists() && !self.hold_alone()? {
            return Err(Error::InUse { path: self.store.path(&case.id) });
        }
        Ok(lacks)
    }

    fn has(&self, case: &Case) -> bool {
        let Ok(stored) = self.store.open(&case.id) else { return false };
        if !stored.has_targets_of(case) {
            return false;
        }
        let made_from = stored.inputs();
        let state = state_of(case.files(), &self.dataset.folder);
        if made_from.state == state {
            return true;
        }
        let Some(content) = &made_from.content else { return false };
        let is_known = |known: &Inputs| known.state == state && known.content.as_ref() == Some(content);
        if self.known.get(case.id.as_str()).is_some_and(is_known) {
            return true;
        }
        let same = content_of(case.files(), &self.dataset.folder).as_ref() == Some(content);
        if same {
            let learnt = Inputs { state, content: made_from.content.clone() };
            self.learnt.lock().unwrap_or_else(PoisonError::into_inner).insert(case.id.to_string(), learnt);
        }
        same
    }

    /// Whether nobody else uses the store; from then on nobody else can.
    fn hold_alone(&self) -> Result<bool, Error> {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        if let Hold::Shared(_) = &*hold {
            // Given back first: this program's own lock would be in the way.
            *hold = Hold::Used;
            if let Some(lock) = lock(&self.store.folder, Sharing::Exclusive)? {
                *hold = Hold::Alone { _lock: lock };
            }
        }
        Ok(matches!(&*hold, Hold::Alone { .. }))
    }

    /// Writes a case that it [lacks](Self::lacks).
    pub(super) fn write(&self, case: &Case, preprocessed: &PreprocessedCase, patch: [usize; 3]) -> Result<(), Error> {
        self.store.write(&case.id, preprocessed, patch)
    }

    /// The store, now in use.
    pub(super) fn done(self) -> Result<CaseStore, Error> {
        let learnt = self.learnt.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !learnt.is_empty() {
            let known: BTreeMap<String, Inputs> = self.known.into_iter().chain(learnt).collect();
            // Else contents are compared once more.
            let _ = write_json(&self.store.folder.join(KNOWN_FILE), &known);
        }
        let used = match self.hold.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Hold::Shared(lock) => lock,
            hold => {
                drop(hold);
                let lock = lock(&self.store.folder, Sharing::Shared)?;
                lock.ok_or_else(|| Error::Replacing { path: self.store.folder.clone() })?
            }
        };
        Ok(CaseStore { _used: Some(Arc::new(used)), ..self.store })
    }
}

/// Where the store of a key is.
fn named_folder(folder: &Path, identifier: &Name, key: &str) -> PathBuf {
    folder.join(format!("{identifier}-{}.store", &key[..SHORT]))
}

/// Where versions up to 2026-11 had the store of a `data_identifier`.
fn unnamed_folder(folder: &Path, identifier: &Name) -> PathBuf {
    folder.join(format!("{identifier}.store"))
}

/// A store that no configuration of the plans has any more.
#[derive(Debug)]
pub struct Unused {
    /// Its folder.
    pub folder: PathBuf,
    /// Its cases.
    pub cases: usize,
    /// Their size in bytes.
    pub bytes: u64,
    /// Why it was left, if it was.
    pub left: Option<String>,
}

/// Removes the stores in `folder` that none of `current`, pairs of plans and configuration, uses.
pub(super) fn clean<'a>(
    folder: &Path,
    dataset: &Dataset,
    current: impl Iterator<Item = (&'a Plans, &'a Configuration)>,
) -> Result<Vec<Unused>, Error> {
    let mut needed = BTreeSet::new();
    for (plans, configuration) in current {
        let named = named_folder(folder, &configuration.data_identifier, &store_key(dataset, plans, configuration));
        let unnamed = unnamed_folder(folder, &configuration.data_identifier);
        // One of an earlier version is used as long as there is no other.
        let is_used = !named.exists() && read_key(&unnamed)?.is_some_and(|key| key.key == data_key_part(dataset, plans, configuration));
        needed.extend([named].into_iter().chain(is_used.then_some(unnamed)));
    }
    let mut unused = Vec::new();
    for name in crate::dataset::visible_names(folder)?.into_iter().filter(|name| name.ends_with(".store")) {
        let path = folder.join(name);
        // A link leads to what may be somebody else's.
        let is_folder = std::fs::symlink_metadata(&path).is_ok_and(|entry| entry.is_dir());
        if is_folder && !needed.contains(&path) && read_key(&path)?.is_some() {
            unused.push(remove(path)?);
        }
    }
    Ok(unused)
}

/// Removes the store in `folder`, unless another program uses it, or it holds something else.
fn remove(folder: PathBuf) -> Result<Unused, Error> {
    let access = |source| Error::Access { path: folder.clone(), source };
    let (mut files, mut cases, mut bytes, mut left) = (Vec::new(), 0, 0, None);
    for entry in std::fs::read_dir(&folder).map_err(access)? {
        let entry = entry.map_err(access)?;
        let (name, is_file) = (entry.file_name(), entry.file_type().map_err(access)?.is_file());
        let name = name.to_string_lossy();
        if name.ends_with(ENDING) {
            cases += 1;
            bytes += entry.metadata().map_err(access)?.len();
        } else if name != KEY_FILE && name != KNOWN_FILE {
            left = Some(format!("since it holds {name:?}, which is no part of a store"));
        }
        if !is_file {
            left = Some(format!("since it holds {name:?}, which is no file"));
        }
        if name != KEY_FILE {
            files.push(entry.path());
        }
    }
    let alone = lock(&folder, Sharing::Exclusive)?;
    match &alone {
        None => left = Some("since another program uses it".to_owned()),
        Some(lock) if !lock.is_held() => {
            left = Some("since its file system has no locks: whether a program uses it is not known".to_owned())
        }
        Some(_) => {}
    }
    if left.is_none() {
        // The key goes last: until then the folder is a store that lacks cases.
        for file in files.into_iter().chain([folder.join(KEY_FILE)]) {
            std::fs::remove_file(&file).map_err(|source| Error::Access { path: file.clone(), source })?;
        }
        std::fs::remove_dir(&folder).map_err(access)?;
    }
    Ok(Unused { folder, cases, bytes, left })
}

fn lock(store: &Path, sharing: Sharing) -> Result<Option<Lock>, Error> {
    let path = store.join(KEY_FILE);
    Lock::take(&path, sharing).map_err(|source| Error::Access { path, source })
}

/// The key of a store; none where there is no store, or one of another form.
fn read_key(store: &Path) -> Result<Option<StoreKey>, Error> {
    let path = store.join(KEY_FILE);
    match read_json(&path) {
        Ok(key) => Ok(Some(key)),
        Err(JsonError::Read(source)) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Access { path, source }),
        Err(_) => Ok(None),
    }
}
