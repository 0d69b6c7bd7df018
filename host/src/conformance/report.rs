//! What came of the cases, for people and for programs.

use super::{CASES, Case, Finding};
use crate::plugin::Ended;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It holds.
    Passed,
    /// It holds, but is worth a word.
    Warning,
    /// It does not apply, or cannot be looked at.
    Skipped,
    /// The contract is broken.
    Failed,
    /// The process died by a signal.
    Crashed,
    /// The process was aborted, or ended by the plugin.
    Aborted,
    /// It had not finished in time.
    Hung,
    /// Memory is not given back.
    Leaked,
}

/// A case that has run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub case: String,
    /// What came of it.
    pub status: Status,
    /// Why, unless it passed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How long it took.
    pub seconds: f64,
    /// It was not run, since another one comes first.
    #[serde(skip)]
    pub left_out: bool,
}

/// All cases of a plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its id and version.
    pub plugin: String,
    /// Of its file.
    pub sha256: String,
    /// Extensions that were found, of those that the host calls.
    #[serde(default)]
    pub extensions: Vec<String>,
    /// Its options.
    pub options: serde_json::Value,
    /// Of everything that is made up.
    pub seed: u64,
    /// Case by case.
    pub outcomes: Vec<Outcome>,
    /// How long all of it took.
    pub seconds: f64,
}

impl Status {
    /// Whether the plugin breaks the contract.
    pub fn is_bad(self) -> bool {
        !matches!(self, Self::Passed | Self::Warning | Self::Skipped)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Warning => "warning",
            Self::Skipped => "skipped",
            Self::Failed => "FAILED",
            Self::Crashed => "CRASHED",
            Self::Aborted => "ABORTED",
            Self::Hung => "HUNG",
            Self::Leaked => "LEAKED",
        }
    }
}

/// What a case that ended like this comes to, and why.
pub(super) fn judge(ended: &Ended<Result<(), Finding>>) -> (Status, String) {
    match ended {
        Ended::Answered(Ok(())) => (Status::Passed, String::new()),
        Ended::Answered(Err(Finding::Failed(message))) => (Status::Failed, message.clone()),
        Ended::Answered(Err(Finding::Leaked(message))) => (Status::Leaked, message.clone()),
        Ended::Answered(Err(Finding::Warning(message))) => (Status::Warning, message.clone()),
        Ended::Answered(Err(Finding::Skipped(message))) => (Status::Skipped, message.clone()),
        Ended::Killed(libc::SIGABRT) | Ended::Exited(_) => (Status::Aborted, ended.to_string()),
        Ended::Killed(_) => (Status::Crashed, ended.to_string()),
        Ended::TimedOut(_) => (Status::Hung, ended.to_string()),
    }
}

impl Report {
    /// Cases that break the contract.
    pub fn bad(&self) -> usize {
        self.outcomes.iter().filter(|outcome| outcome.status.is_bad()).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extensions = if self.extensions.is_empty() { "none".to_owned() } else { self.extensions.join(", ") };
        writeln!(f, "{}, options {}, seed {}, extensions: {extensions}", self.plugin, self.options, self.seed)?;
        // Those that could not run come to one line.
        let (unlooked_at, ran): (Vec<_>, Vec<_>) = self.outcomes.iter().partition(|outcome| outcome.left_out);
        if let Some(Outcome { message, .. }) = unlooked_at.first() {
            writeln!(f, "  {} cases left out: {message}", unlooked_at.len())?;
        }
        for Outcome { case, status, message, seconds, .. } in ran {
            let about = CASES.iter().find(|known| known.name == case).map_or("", |known: &Case| known.about);
            writeln!(f, "  {:<8} {case:<22} {seconds:>6.2} s  {about}", status.word())?;
            if !message.is_empty() {
                writeln!(f, "           {message}")?;
            }
        }
        let of = |status| self.outcomes.iter().filter(|outcome| outcome.status == status).count();
        let (passed, warned, skipped) = (of(Status::Passed), of(Status::Warning), of(Status::Skipped));
        write!(f, "{passed} passed, {} failed, {warned} warnings, {skipped} skipped, in {:.1} s", self.bad(), self.seconds)
    }
}
