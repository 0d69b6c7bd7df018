//! The user's list of trusted plugins: `$XDG_CONFIG_HOME/trainer-host/trusted.json`, else `~/.config/trainer-host/trusted.json`.
//!
//! Only the user and root may be able to write to it, as for plugins. A change reads it, writes a new one beside it and renames that, under a
//! lock, so that of two programs at once neither loses a pin. One that has anything in it that this version does not know is refused, and
//! so never written back without it.

use super::TrustError;
use crate::identity::PluginIdentity;
use crate::permissions::{self, PermissionError};
use data::lock::{Lock, Sharing};
use imaging::io::parse_json;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// A file that the user trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Of its bytes, 64 hexadecimal digits: this is what is trusted, all else is for people.
    pub sha256: String,
    /// Id in its manifest.
    pub id: String,
    /// Version in its manifest.
    pub version: String,
    /// Where it was when it was pinned.
    pub path: PathBuf,
    /// Day, UTC, `YYYY-MM-DD`.
    pub added: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    plugins: Vec<Pin>,
}

impl Pin {
    /// Of a plugin, today.
    pub fn of(plugin: &PluginIdentity) -> Self {
        let PluginIdentity { path, manifest, sha256, .. } = plugin;
        let added = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        Self { sha256: sha256.clone(), id: manifest.id.clone(), version: manifest.version.clone(), path: path.clone(), added }
    }
}

/// All pins, in the order in which they were added.
///
/// # Errors
/// When there is a list that cannot be read, or that others can write to.
pub fn pins() -> Result<Vec<Pin>, TrustError> {
    Place::of_user().map_or_else(|| Ok(Vec::new()), |place| place.read())
}

/// Changes the list. Nothing is written if `edit` fails.
///
/// # Errors
/// What `edit` returns, and when the list cannot be read or written.
pub fn change<T, E: From<TrustError>>(edit: impl FnOnce(&mut Vec<Pin>) -> Result<T, E>) -> Result<T, E> {
    Place::of_user().ok_or(TrustError::NoPlace)?.change(edit)
}

/// Where a list is.
struct Place {
    path: PathBuf,
    /// Refuses a list that somebody else can write to.
    check: fn(&Path, &File) -> Result<(), PermissionError>,
}

impl Place {
    fn of_user() -> Option<Self> {
        let configuration = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let folder = configuration.or_else(|| std::env::home_dir().map(|home| home.join(".config")))?;
        Some(Self { path: folder.join("trainer-host/trusted.json"), check: |path, file| permissions::check(path, file).map(drop) })
    }

    fn change<T, E: From<TrustError>>(&self, edit: impl FnOnce(&mut Vec<Pin>) -> Result<T, E>) -> Result<T, E> {
        let _lock = self.lock().map_err(|source| TrustError::Io { path: self.path.clone(), source })?;
        let mut plugins = self.read()?;
        let result = edit(&mut plugins)?;
        let list = serde_json::to_string_pretty(&List { plugins });
        let list = list.map_err(|e| TrustError::Broken { path: self.path.clone(), reason: e.to_string() })?;
        imaging::io::write_atomically(&self.path, |file| file.write_all(list.as_bytes())).map_err(TrustError::from)?;
        Ok(result)
    }

    /// Of a file of its own, since the list is replaced; let go when it is closed.
    fn lock(&self) -> io::Result<Lock> {
        std::fs::create_dir_all(self.path.parent().unwrap_or(Path::new("/")))?;
        Lock::wait(&self.path.with_extension("lock"), Sharing::Exclusive)
    }

    fn read(&self) -> Result<Vec<Pin>, TrustError> {
        let path = || self.path.clone();
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(|source| TrustError::Io { path: path(), source })?,
        };
        (self.check)(&self.path, &file).map_err(|source| TrustError::Permissions { path: path(), source })?;
        let broken = |reason: String| TrustError::Broken { path: path(), reason };
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(|e| broken(e.to_string()))?;
        let List { plugins } = parse_json(&text).map_err(|e| broken(e.to_string()))?;
        let is_hash = |text: &str| text.len() == 64 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
        match plugins.iter().find(|pin| !is_hash(&pin.sha256)) {
            Some(pin) => Err(broken(format!("the sha256 of {:?} is {:?}, expected 64 hexadecimal digits", pin.id, pin.sha256))),
            None => Ok(plugins),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permissions::{Step, StepKind};

    fn pin(id: &str) -> Pin {
        let sha256 = data::hash::sha256(id);
        Pin { sha256, id: id.to_owned(), version: "1.0.0".to_owned(), path: "/lib.so".into(), added: "2026-01-31".to_owned() }
    }

    /// A list in `folder`. Who else can write there depends on the machine, so nobody is asked.
    fn list(folder: &Path) -> Place {
        Place { path: folder.join("trusted.json"), check: |_, _| Ok(()) }
    }

    fn add(list: &Place, id: &str) -> Result<(), TrustError> {
        list.change(|pins| {
            pins.push(pin(id));
            Ok(())
        })
    }

    #[test]
    fn at_once_none_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let list = list(&folder.path().join("new"));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let list = &list;
                scope.spawn(move || (0..5).for_each(|i| add(list, &format!("{thread}-{i}")).unwrap()));
            }
        });
        assert_eq!(list.read().unwrap().len(), 40);
    }

    #[test]
    fn what_is_broken_or_open_to_others_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut list = list(folder.path());
        assert_eq!(list.read().unwrap(), []);
        for (text, words) in [
            ("{\"plugins\": [", "EOF"),
            ("{}", "missing field `plugins`"),
            ("{\"plugins\": [], \"keys\": []}", "unknown field `keys`"),
            ("{\"plugins\": [{\"sha256\": \"A\", \"id\": \"x\", \"version\": \"\", \"path\": \"\", \"added\": \"\"}]}", "64 hexadecimal"),
        ] {
            std::fs::write(&list.path, text).unwrap();
            let refused = add(&list, "new").unwrap_err().to_string();
            assert!(refused.contains("trusted.json") && refused.contains(words) && refused.contains("move it away"), "{refused}");
            assert_eq!(std::fs::read_to_string(&list.path).unwrap(), text);
        }
        std::fs::remove_file(&list.path).unwrap();
        add(&list, "a").unwrap();
        let failed: Result<(), TrustError> = list.change(|pins| {
            pins.clear();
            Err(TrustError::NoPlace)
        });
        assert!(failed.is_err());
        assert_eq!(list.read().unwrap(), [pin("a")]);

        list.check = |path, _| {
            let step = Step { path: path.to_owned(), kind: StepKind::File };
            Err(PermissionError::Writable { step, writer: "everybody".to_owned() })
        };
        for refused in [list.read().map(|_| ()), add(&list, "b")] {
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("trusted.json: is writable for everybody"), "{refused}");
        }
        list.check = |_, _| Ok(());
        assert_eq!(list.read().unwrap(), [pin("a")]);
    }
}
