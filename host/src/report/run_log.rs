//! `log.txt` and `metrics.jsonl` of a fold.
//!
//! Both only grow. A checkpoint remembers their lengths, and resuming cuts them back to it, so that no epoch appears twice.

use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The logs cannot be opened, written or measured.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}; is the disk full, or the folder read-only?", path.display())]
pub struct LogError {
    path: PathBuf,
    source: std::io::Error,
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
    /// Opens both logs in `folder`, which is made if need be, and cuts them back to `lengths` (`[metrics.jsonl, log.txt]`);
    /// zeros start anew.
    pub fn open(folder: &Path, lengths: [u64; 2]) -> Result<Self, LogError> {
        std::fs::create_dir_all(folder).map_err(|source| LogError { path: folder.to_owned(), source })?;
        let open = |name, length| {
            let path = folder.join(name);
            Log::open(&path, length).map_err(|source| LogError { path, source })
        };
        Ok(Self { records: open("metrics.jsonl", lengths[0])?, text: open("log.txt", lengths[1])? })
    }

    /// Opens both logs in `folder` to add to them.
    pub fn append(folder: &Path) -> Result<Self, LogError> {
        Self::open(folder, [u64::MAX; 2])
    }

    /// Prints a line and adds it to `log.txt` with the time (UTC). Neither a full disk nor a console that has gone away stops a training.
    pub fn line(&mut self, line: &str) {
        let _ = writeln!(std::io::stdout(), "{line}");
        if let Err(error) = self.text.append(&format!("{} {line}\n", timestamp())) {
            log::warn!("{error}; the line is only on the console");
        }
    }

    /// Adds a record to `metrics.jsonl`.
    pub fn record(&mut self, record: &impl Serialize) -> Result<(), LogError> {
        let mut line = serde_json::to_string(record).expect("plain data");
        line.push('\n');
        self.records.append(&line)
    }

    /// Lengths as a checkpoint holds them.
    pub fn lengths(&mut self) -> Result<[u64; 2], LogError> {
        Ok([self.records.length()?, self.text.length()?])
    }
}

impl Log {
    fn open(path: &Path, length: u64) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.set_len(length.min(file.metadata()?.len()))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn length(&mut self) -> Result<u64, LogError> {
        self.file.stream_position().map_err(|source| LogError { path: self.path.clone(), source })
    }

    /// Writes `text` whole or not at all.
    fn append(&mut self, text: &str) -> Result<(), LogError> {
        let start = self.length()?;
        self.file.write_all(text.as_bytes()).map_err(|source| {
            // What cannot be undone either is cut off on resuming.
            let _ = self.file.set_len(start).and_then(|()| self.file.seek(SeekFrom::Start(start)));
            LogError { path: self.path.clone(), source }
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
