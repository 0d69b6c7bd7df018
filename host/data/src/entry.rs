//! An entry of a JSON file that people write: every complaint about it names file and entry, what is there, and what should be.
//!
//! `dataset.json`, the files that it names, and each [kind of target](crate::kinds) read themselves out of these.

use std::path::Path;

use serde_json::{Map, Value};

use crate::fault::Error;
use crate::name::Name;
use crate::nearest::{hint, shortened};

/// What a `dataset.json` is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// All that training needs, as nnU-Net verifies it.
    Training,
    /// What its `LabelManager` insists on.
    Trained,
}

/// A value inside a JSON file that knows where it stands, so that every complaint names file and entry.
pub struct Entry<'a> {
    file: &'a Path,
    at: String,
    pub value: &'a Value,
    /// What the file is held to.
    rules: Rules,
}

impl<'a> Entry<'a> {
    pub fn root(file: &'a Path, value: &'a Value) -> Self {
        Self { file, at: String::new(), value, rules: Rules::Training }
    }

    /// What the file is held to.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// The same, held to other rules.
    pub fn held_to(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    pub fn child(&self, key: &str, value: &'a Value) -> Self {
        Self { at: self.place(key), value, ..*self }
    }

    /// An element of this entry, reported under this entry's own name.
    pub fn with_value(&self, value: &'a Value) -> Self {
        Self { at: self.at.clone(), value, ..*self }
    }

    pub fn get(&self, key: &str) -> Option<Self> {
        self.value.get(key).map(|value| self.child(key, value))
    }

    pub fn required(&self, key: &str, expected: &str) -> Result<Self, Error> {
        self.get(key).ok_or_else(|| Error::Entry {
            path: self.file.to_path_buf(),
            entry: self.place(key),
            found: "missing".to_owned(),
            expected: expected.to_owned(),
        })
    }

    pub fn object(&self, expected: &str) -> Result<&'a Map<String, Value>, Error> {
        self.value.as_object().ok_or_else(|| self.wrong(&self.value.to_string(), expected))
    }

    pub fn array(&self, expected: &str) -> Result<&'a Vec<Value>, Error> {
        self.value.as_array().ok_or_else(|| self.wrong(&self.value.to_string(), expected))
    }

    pub fn string(&self, expected: &str) -> Result<String, Error> {
        self.value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(&self.value.to_string(), expected))
    }

    pub fn boolean(&self) -> Result<bool, Error> {
        self.value.as_bool().ok_or_else(|| self.wrong(&self.value.to_string(), "true or false"))
    }

    /// A single name that stays inside its folder.
    pub fn file_name(&self) -> Result<Name, Error> {
        let expected = "the name of a file or folder in targetsTr";
        let name = self.string(expected)?;
        Name::new(name).map_err(|error| self.wrong(&error.to_string(), expected))
    }

    /// Refuses keys other than `valid`.
    pub fn only(&self, valid: &[&str]) -> Result<(), Error> {
        let keys = self.value.as_object().into_iter().flat_map(Map::keys);
        match keys.into_iter().find(|key| !valid.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                Err(Error::Unknown { path: self.file.to_path_buf(), entry: self.place(key), hint: hint(key, valid.iter().copied()) })
            }
        }
    }

    pub fn wrong(&self, found: &str, expected: &str) -> Error {
        Error::Entry { path: self.file.to_path_buf(), entry: self.name(), found: shortened(found), expected: expected.to_owned() }
    }

    pub fn unknown(&self, found: &str, hint: String) -> Error {
        Error::Unknown { path: self.file.to_path_buf(), entry: format!("{} {}", self.name(), shortened(found)), hint }
    }

    fn name(&self) -> String {
        if self.at.is_empty() { "the file".to_owned() } else { self.at.clone() }
    }

    fn place(&self, key: &str) -> String {
        if self.at.is_empty() { key.to_owned() } else { format!("{}.{key}", self.at) }
    }
}
