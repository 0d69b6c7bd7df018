//! `log.txt` and `metrics.jsonl` of a fold.
//!
//! Both only grow. A checkpoint remembers their lengths, and resuming cuts them back to it, so that no epoch appears twice.

use crate::train::TermMean;
use indexmap::IndexMap;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// One line of `metrics.jsonl`. NaN is written as `null`.
#[derive(Debug, Serialize)]
pub struct EpochRecord {
    /// From 0.
    pub epoch: u64,
    /// Learning rate of the epoch.
    pub learning_rate: f64,
    /// Training terms by name: mean value, unweighted and weighted.
    pub train: IndexMap<String, TermMean>,
    /// Their weighted sum.
    pub train_loss: f64,
    /// Validation terms.
    pub validation: IndexMap<String, TermMean>,
    /// Their weighted sum.
    pub validation_loss: f64,
    /// Online metrics by output, then by name.
    pub metrics: IndexMap<String, IndexMap<String, f64>>,
    /// Moving average of every output's first metric.
    pub ema: IndexMap<String, f64>,
    /// Seconds of the epoch (a time: differs from run to run).
    pub seconds: f64,
    /// Of these, spent waiting for batches (a time).
    pub data_wait: f64,
}

/// The open logs of a fold.
#[derive(Debug)]
pub struct RunLog {
    text: Log,
    records: Log,
}

#[derive(Debug)]
struct Log {
    path: PathBuf,
    file: File,
}

impl RunLog {
    /// Opens both logs in `folder` and cuts them back to `lengths` (`[metrics.jsonl, log.txt]`); zeros start anew.
    pub fn open(folder: &Path, lengths: [u64; 2]) -> std::io::Result<Self> {
        Ok(Self { records: Log::open(folder.join("metrics.jsonl"), lengths[0])?, text: Log::open(folder.join("log.txt"), lengths[1])? })
    }

    /// Opens both logs in `folder` to add to them.
    pub fn append(folder: &Path) -> std::io::Result<Self> {
        Self::open(folder, [u64::MAX; 2])
    }

    /// Prints a line and adds it to `log.txt` with the time (UTC). A full disk must not stop a training: it shows on the console.
    pub fn line(&mut self, line: &str) {
        println!("{line}");
        let stamped = format!("{} {line}\n", timestamp());
        if let Err(error) = self.text.append(&stamped) {
            log::warn!("{}: {error}; the line is only on the console", self.text.path.display());
        }
    }

    /// Adds a record to `metrics.jsonl`.
    pub fn record(&mut self, record: &EpochRecord) -> std::io::Result<()> {
        let mut line = serde_json::to_string(record).expect("plain data");
        line.push('\n');
        self.records.append(&line)
    }

    /// Lengths as a checkpoint holds them.
    pub fn lengths(&mut self) -> std::io::Result<[u64; 2]> {
        Ok([self.records.file.stream_position()?, self.text.file.stream_position()?])
    }
}

impl Log {
    fn open(path: PathBuf, length: u64) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        file.set_len(length.min(file.metadata()?.len()))?;
        let mut log = Self { path, file };
        log.file.seek(SeekFrom::End(0))?;
        Ok(log)
    }

    /// Writes `text` whole or not at all.
    fn append(&mut self, text: &str) -> std::io::Result<()> {
        let start = self.file.stream_position()?;
        self.file.write_all(text.as_bytes()).inspect_err(|_| {
            // What cannot be undone either is cut off on resuming.
            let _ = self.file.set_len(start).and_then(|()| self.file.seek(SeekFrom::Start(start)));
        })
    }
}

/// `1 h 02 min`, `3 min 20 s` or `12 s`.
pub fn format_duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

/// Time of day, UTC, `HH:MM:SS`.
fn timestamp() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()) % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resuming_cuts_back() {
        let folder = tempfile::tempdir().unwrap();
        let lengths = {
            let mut log = RunLog::open(folder.path(), [0, 0]).unwrap();
            log.line("kept");
            let lengths = log.lengths().unwrap();
            log.line("cut off");
            lengths
        };
        let mut log = RunLog::open(folder.path(), lengths).unwrap();
        log.line("next");
        let text = std::fs::read_to_string(folder.path().join("log.txt")).unwrap();
        let words: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(words, ["kept", "next"]);
    }
}
