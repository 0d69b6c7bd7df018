//! Names that become files and folders.
//!
//! A name of a stranger's `plans.json`, `dataset.json` or checkpoint may be `../../x`. Whatever is joined to a folder is therefore a
//! [`Name`], which is checked where the file is read, or the command line is.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::path::{Component, Path};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Name of the target that every data set has: the label map in `labelsTr`.
pub const SEGMENTATION: &str = "segmentation";

/// One component of a path: not empty, not `.` or `..`, without `/` and NUL. Names data sets, plans, configurations, runs, cases, outputs
/// and regions, and endings of files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

/// What is no name of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}, which is not the name of a file in one folder (not empty, not '.' or '..', without '/')")]
pub struct NotAName(String);

impl Name {
    /// Takes a name.
    ///
    /// # Errors
    /// When it is not one component of a path.
    pub fn new(name: impl Into<String>) -> Result<Self, NotAName> {
        let name = name.into();
        let mut parts = Path::new(&name).components();
        let is_plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name.as_str());
        if is_plain && !name.contains('\0') { Ok(Self(name)) } else { Err(NotAName(name)) }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name in the program's own text, or one put together of names.
    ///
    /// # Panics
    /// When it is none.
    pub fn known(name: impl Into<String>) -> Self {
        Self::new(name).unwrap_or_else(|error| unreachable!("{error}"))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// In quotes, as text.
impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = NotAName;

    fn try_from(name: String) -> Result<Self, NotAName> {
        Self::new(name)
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(name: &str) -> Result<Self, NotAName> {
        Self::new(name)
    }
}

/// Maps by name are asked by text.
impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component() {
        for name in ["Dataset004_Hippocampus", ".nii.gz", "a b", "...", "a\\b", "ünï", "-x", "a:b"] {
            assert_eq!(Name::new(name).expect(name), name);
        }
        for name in ["", ".", "..", "/", "a/b", "../a", "/a", "a/", "./a", "a/.", "a/..", "a\0b", "//a"] {
            assert!(Name::new(name).is_err_and(|e| e.to_string().contains("not the name of a file")), "{name:?}");
            assert!(serde_json::from_value::<Name>(name.into()).is_err(), "{name:?}");
        }
    }
}
