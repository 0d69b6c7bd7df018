//! The record of every epoch: on the console and in `log.txt`, in `metrics.jsonl`, as events of TensorBoard, and drawn as `progress.png`.

use super::super::Error;
use super::{Observed, Observer};
use crate::report::{EpochRecord, progress};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Journal {
    picture: PathBuf,
}

impl Journal {
    pub fn new(folder: &Path) -> Self {
        Self { picture: folder.join("progress.png") }
    }
}

impl Observer for Journal {
    fn measured(&mut self, seen: &mut Observed, record: &EpochRecord) -> Result<(), Error> {
        record.lines().iter().for_each(|line| seen.log.line(line));
        Ok(())
    }

    fn ended(&mut self, seen: &mut Observed, record: &EpochRecord) -> Result<(), Error> {
        seen.log.record(record.clone())?;
        progress::draw(&self.picture, seen.log.records());
        Ok(())
    }
}
