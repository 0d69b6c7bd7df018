//! What lies in a folder, to see that nothing was changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Every file, link and folder below a folder, with its content, mode and number.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot(BTreeMap<PathBuf, (u64, u32, Vec<u8>)>);

impl Snapshot {
    /// Of all that is below `folder`, but for what is below one of `except`.
    pub fn of(folder: &Path, except: &[&Path]) -> Self {
        let mut found = BTreeMap::new();
        visit(folder, except, &mut found);
        Self(found)
    }

    /// Whether `path` was there.
    pub fn holds(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    /// Asserts that `other` is the same, and names what is not.
    pub fn expect_same(&self, other: &Self) {
        let changed = self.0.iter().filter(|(path, state)| other.0.get(*path) != Some(state)).map(|(path, _)| path);
        let new = other.0.keys().filter(|path| !self.0.contains_key(*path));
        let differs: Vec<&PathBuf> = changed.chain(new).collect();
        assert!(differs.is_empty(), "changed, removed or new: {differs:?}");
    }
}

fn visit(folder: &Path, except: &[&Path], found: &mut BTreeMap<PathBuf, (u64, u32, Vec<u8>)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if except.contains(&path.as_path()) {
            continue;
        }
        let state = fs::symlink_metadata(&path).expect("there");
        let content = if state.is_file() { fs::read(&path).expect("readable") } else { Vec::new() };
        // A folder's number stays when something in it is made and removed again.
        found.insert(path.clone(), (state.ino(), state.mode(), content));
        if state.is_dir() {
            visit(&path, except, found);
        }
    }
}
