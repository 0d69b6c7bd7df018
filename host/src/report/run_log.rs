//! `log.txt`, `metrics.jsonl` and TensorBoard events of a fold.
//!
//! All only grow. A checkpoint remembers their lengths, and resuming cuts them back to it, so that no epoch appears twice. `log.txt` is
//! locked while it is open: two programs must not train one fold.

use super::EpochRecord;
use super::growing::Growing;
use super::tensorboard::{Batch, Events};
use crate::console::Output;
use imaging::plain::plain;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The logs cannot be opened, written or measured.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}{}", path.display(), hint(source))]
pub struct LogError {
    path: PathBuf,
    source: std::io::Error,
}

/// The open logs of a fold.
#[derive(Debug)]
pub struct RunLog {
    text: Growing,
    metrics: Growing,
    events: Events,
    /// All that is in `metrics.jsonl`.
    records: Vec<EpochRecord>,
    /// For the record of this epoch.
    pictures: Vec<Vec<u8>>,
    /// Before every line on the console: whose it is.
    prefix: String,
    output: Output,
}

fn hint(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => "; make room, then go on with --resume",
        _ if error.raw_os_error() == Some(libc::ELOOP) => "; it is a symbolic link, through which no log is written: remove it",
        ReadOnlyFilesystem | PermissionDenied => "; make it writable, then go on with --resume",
        _ => "",
    }
}

impl LogError {
    pub(super) fn new(path: PathBuf, source: std::io::Error) -> Self {
        Self { path, source }
    }
}

impl RunLog {
    /// Opens the logs in `folder`, which is made if need be, and cuts them back to `lengths`, as [`RunLog::lengths`] gave them; zeros
    /// start anew. On the console, lines begin with `name`, unless that is empty.
    pub fn open(folder: &Path, lengths: [u64; 3], name: &str, output: &Output) -> Result<Self, LogError> {
        std::fs::create_dir_all(folder).map_err(|source| LogError::new(folder.to_owned(), source))?;
        let open = |name| Growing::open(folder.join(name));
        let [metrics_length, text_length, events_length] = lengths;
        let mut text = open("log.txt")?;
        text.lock()?;
        let (mut metrics, events) = (open("metrics.jsonl")?, Events::open(folder, events_length)?);
        text.cut(text_length)?;
        metrics.cut(metrics_length)?;
        let records = read_records(metrics.path())?;
        let prefix = if name.is_empty() { String::new() } else { format!("[{name}] ") };
        Ok(Self { text, metrics, events, records, pictures: Vec::new(), prefix, output: output.clone() })
    }

    /// Opens the logs in `folder` to add to them.
    pub fn append(folder: &Path, name: &str, output: &Output) -> Result<Self, LogError> {
        Self::open(folder, [u64::MAX; 3], name, output)
    }

    /// Prints a line and adds it to `log.txt` with the time (UTC). Neither a full disk nor a console that has gone away stops a training.
    pub fn line(&mut self, line: &str) {
        let line = plain(line);
        let _ = self.output.line(&format!("{}{line}", self.prefix));
        if let Err(error) = self.text.append(format!("{} {line}\n", timestamp()).as_bytes()) {
            log::warn!("{error}; the line is only on the console");
        }
    }

    /// Adds an epoch to `metrics.jsonl` and to the TensorBoard events.
    pub fn record(&mut self, record: EpochRecord) -> Result<(), LogError> {
        let mut line = serde_json::to_string(&record).expect("plain data");
        line.push('\n');
        self.metrics.append(line.as_bytes())?;
        let mut batch = Batch::new(record.epoch as i64);
        record.numbers().iter().for_each(|(name, value)| batch.scalar(name, *value as f32));
        self.pictures.drain(..).for_each(|png| batch.image("example", &png));
        self.records.push(record);
        self.events.append(&batch)
    }

    /// Adds a PNG to what the next record shows.
    pub fn picture(&mut self, png: Vec<u8>) {
        self.pictures.push(png);
    }

    /// All epochs so far.
    pub fn records(&self) -> &[EpochRecord] {
        &self.records
    }

    /// Lengths as a checkpoint holds them.
    pub fn lengths(&mut self) -> Result<[u64; 3], LogError> {
        Ok([self.metrics.length()?, self.text.length()?, self.events.length()?])
    }
}

/// The epochs in a `metrics.jsonl`.
pub fn read_records(path: &Path) -> Result<Vec<EpochRecord>, LogError> {
    let failed = |source| LogError::new(path.to_owned(), source);
    let text = imaging::io::read_text(path).map_err(failed)?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|e| failed(e.into()))).collect()
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
        let output = Output::new(std::io::sink(), None);
        let lengths = {
            let mut log = RunLog::open(folder.path(), [0; 3], "", &output).unwrap();
            log.line("kept");
            let lengths = log.lengths().unwrap();
            log.line("cut off");
            lengths
        };
        let mut log = RunLog::open(folder.path(), lengths, "", &output).unwrap();
        log.line("next");
        let text = std::fs::read_to_string(folder.path().join("log.txt")).unwrap();
        let words: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap().1).collect();
        assert_eq!(words, ["kept", "next"]);
    }
}
