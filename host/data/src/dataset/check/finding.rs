//! One thing that is wrong, and the list of them.

use std::path::Path;

use serde::Serialize;

use crate::dataset::Error;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The data set, or a case of it, is refused.
    Error,
    /// It can be used, and may not be what was meant.
    Warning,
}

/// One thing that is wrong with a data set. The order is that of a report: errors first, then by file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or folder, relative to the data set's folder where it lies in there.
    pub path: String,
    /// What was found, and what was expected.
    pub found: String,
    /// What to do.
    pub remedy: String,
}

/// The findings in one data set so far.
pub(super) struct Findings<'a> {
    folder: &'a Path,
    list: Vec<Finding>,
}

impl<'a> Findings<'a> {
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, list: Vec::new() }
    }

    pub fn error(&mut self, path: &Path, found: impl Into<String>, remedy: impl Into<String>) {
        self.push(Severity::Error, path, found.into(), remedy.into());
    }

    pub fn warning(&mut self, path: &Path, found: impl Into<String>, remedy: impl Into<String>) {
        self.push(Severity::Warning, path, found.into(), remedy.into());
    }

    /// What opening the data set for training would say; `path` where the error does not know better. Such a message is
    /// `<file>: <what was found>; <what to do>`.
    pub fn refused(&mut self, path: &Path, error: &Error) {
        let path = place(error).unwrap_or(path);
        let (message, shown) = (error.to_string(), path.display().to_string());
        let text = match message.strip_prefix(&shown) {
            Some(rest) => rest.trim_start_matches([':', ' ']).to_owned(),
            // `cannot read <file>: …`
            None => message.replacen(&format!(" {shown}:"), ":", 1),
        };
        let text = text.replace(&format!("{}/", self.folder.display()), "");
        let (found, remedy) = text.rsplit_once("; ").unwrap_or((&text, "correct it"));
        self.error(path, found, remedy);
    }

    pub fn has_errors(&self) -> bool {
        self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    pub fn extend(&mut self, findings: Vec<Finding>) {
        self.list.extend(findings);
    }

    pub fn into_sorted(mut self) -> Vec<Finding> {
        self.list.sort();
        self.list
    }

    fn push(&mut self, severity: Severity, path: &Path, found: String, remedy: String) {
        let path = path.strip_prefix(self.folder).unwrap_or(path).display().to_string();
        self.list.push(Finding { severity, path, found, remedy });
    }
}

/// The file that an error is about.
fn place(error: &Error) -> Option<&Path> {
    match error {
        Error::Read { path, .. }
        | Error::Json { path, .. }
        | Error::Entry { path, .. }
        | Error::Unknown { path, .. }
        | Error::Unnumbered { path, .. }
        | Error::Channels { folder: path, .. }
        | Error::MissingTarget { path, .. }
        | Error::MissingClass { path, .. }
        | Error::CaseCount { path, .. } => Some(path),
        _ => None,
    }
}
