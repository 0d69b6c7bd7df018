//! Where the libraries are that this user's trainings were made with, so that their models find them again.
//!
//! `$XDG_STATE_HOME/trainer-host/plugins/<sha256>`, else below `~/.local/state`: a file a library, named after the hash of its bytes, that holds its
//! path. Only trainings that this user starts write there. A checkpoint, which may be a stranger's, gives a hash and never a path: it leads to a
//! library that the user has trained with, and only while that still has the same bytes. What is found passes all gates.

use data::hash::sha256;
use gate::{PluginIdentity, permissions, read_file};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Remembers where `plugin` is. Where that cannot be written, the log says so, and its models need `--plugin`.
pub fn remember(plugin: &PluginIdentity) {
    let path = std::path::absolute(&plugin.path).unwrap_or_else(|_| plugin.path.clone());
    if let Err(error) = write(&plugin.sha256, &path) {
        log::warn!(
            "it cannot be remembered where the plugin is ({error}); predictions with this model will need --plugin {}",
            path.display()
        );
    }
}

fn write(hash: &str, library: &Path) -> io::Result<()> {
    let folder = folder().ok_or_else(|| io::Error::other("there is no home folder"))?;
    let note = folder.join(hash);
    // Whatever the umask is: a note that others could write would not be believed.
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    imaging::io::write_atomically(&note, |file| file.write_all(library.as_os_str().as_bytes())).map_err(io::Error::other)?;
    std::fs::set_permissions(&note, Permissions::from_mode(0o600))
}

/// The library with this hash that a training of this user was made with, if it is still there.
pub fn remembered(hash: &str) -> Option<PathBuf> {
    // It comes from a checkpoint, and becomes the name of a file.
    if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let note = folder()?.join(hash);
    let mut file = match File::open(&note) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => {
            log::warn!("{}: {error}; left out", note.display());
            return None;
        }
    };
    if let Err(error) = permissions::check(&note, &file) {
        log::warn!("{}: {error}; left out", note.display());
        return None;
    }
    let mut path = Vec::new();
    file.read_to_end(&mut path).ok()?;
    let path = PathBuf::from(OsString::from_vec(path));
    let (_, bytes) = read_file(&path).ok()?;
    (sha256(bytes) == hash).then_some(path)
}

fn folder() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    Some(state.or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))?.join("trainer-host/plugins"))
}
