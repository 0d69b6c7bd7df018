//! The fingerprint of a data set: shapes, spacings and foreground intensities, which planning and CT normalisation go by.
//!
//! Every case is read once (`case`): the box around what is not zero, and a sample (`sample`) of foreground intensities, the very
//! draws of nnU-Net's `fingerprint_extractor.py`, counted instead of kept. All cases together are then pooled (`pool`). Keys,
//! rules and numbers of `dataset_fingerprint.json` are nnU-Net's.

mod case;
mod pool;
mod sample;
#[cfg(test)]
mod tests;

use std::path::Path;

use imaging::io::JsonError;
use imaging::normalise::IntensityProperties;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::dataset::{self, Dataset};
use crate::numpy::median;
use crate::parallel::{Progress, Stage, for_each_case, guarded};
use case::{CaseStatistics, case_statistics};
use pool::pool;

/// Foreground intensities drawn from all cases together, for each channel.
const DRAWS: usize = 100_000_000;

/// What a data set looks like. The JSON is nnU-Net's `dataset_fingerprint.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Intensities inside the foreground, by channel number.
    #[serde(alias = "foreground_intensity_properties_by_modality")]
    pub foreground_intensity_properties_per_channel: IndexMap<String, IntensityProperties>,
    /// Median over cases of voxels after cropping by voxels before.
    pub median_relative_size_after_cropping: f64,
    /// Shape (z, y, x) of every cropped case.
    pub shapes_after_crop: Vec<[usize; 3]>,
    /// Spacing (z, y, x) of every case in mm.
    pub spacings: Vec<[f64; 3]>,
    /// What it was made from. nnU-Net ignores the key, and its own files lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_by: Option<WrittenBy>,
}

/// Who wrote a fingerprint, and from which files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenBy {
    /// Program and version.
    pub program: String,
    /// Hash of the state of all raw files.
    pub inputs: String,
    /// Hash of their content; fingerprints of versions up to 2026-11 lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// Name of the reader of the files; fingerprints of versions up to 2026-11 lack it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<String>,
}

/// Why there is no fingerprint.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A case cannot be read or is broken.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// Nothing to take intensities from.
    #[error("{}: no label map has a foreground voxel, expected label values above 0; check labelsTr", .folder.display())]
    NoForeground {
        /// The data set.
        folder: std::path::PathBuf,
    },
    /// A fingerprint file cannot be read.
    #[error("{}: cannot be read ({source}); check that it exists and may be read", .path.display())]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A fingerprint file is not one.
    #[error("{}: is no data set fingerprint ({source}); remove it to have it extracted anew", .path.display())]
    Json {
        /// The file.
        path: std::path::PathBuf,
        /// Where and why.
        source: JsonError,
    },
    /// A fingerprint file cannot be written.
    #[error(transparent)]
    Write(#[from] imaging::io::Error),
}

impl Fingerprint {
    /// Reads a `dataset_fingerprint.json`, ours or nnU-Net's.
    ///
    /// # Errors
    /// When it cannot be read or is not one.
    pub fn read(path: &Path) -> Result<Self, Error> {
        imaging::io::read_json(path).map_err(|error| match error {
            JsonError::Read(source) => Error::Read { path: path.to_path_buf(), source },
            source => Error::Json { path: path.to_path_buf(), source },
        })
    }

    /// Writes a `dataset_fingerprint.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        imaging::io::write_json(path, self)?;
        Ok(())
    }
}

/// Reads all cases on `threads` threads and extracts the fingerprint.
///
/// # Errors
/// When a case cannot be read or breaks a rule of the format, or no case has foreground (of which nnU-Net makes nothing,
/// either).
pub fn extract(dataset: &Dataset, threads: usize, progress: &(dyn Fn(Progress) + Sync)) -> Result<Fingerprint, Error> {
    extract_from(dataset, DRAWS, threads, progress)
}

/// [`extract`] with another number of draws.
fn extract_from(dataset: &Dataset, draws: usize, threads: usize, progress: &(dyn Fn(Progress) + Sync)) -> Result<Fingerprint, Error> {
    let (reader, draws) = (dataset.reader()?, draws / dataset.cases.len().max(1));
    let cases: Vec<CaseStatistics> = for_each_case(&dataset.cases, threads, Stage::Fingerprint, progress, |case| {
        guarded(&case.id, || case_statistics(case, dataset, reader, draws).map_err(|error| dataset::Error::of_case(&case.id, error)))
    })?;
    let mut properties = IndexMap::new();
    for channel in 0..dataset.description.channel_names.len() {
        let samples: Vec<_> = cases.iter().map(|case| &case.channels[channel]).collect();
        let pooled = pool(&samples).ok_or_else(|| Error::NoForeground { folder: dataset.folder.clone() })?;
        properties.insert(channel.to_string(), pooled);
    }
    let relative: Vec<f64> = cases.iter().map(|case| case.relative_size).collect();
    Ok(Fingerprint {
        foreground_intensity_properties_per_channel: properties,
        median_relative_size_after_cropping: median(&relative),
        shapes_after_crop: cases.iter().map(|case| case.shape).collect(),
        spacings: cases.iter().map(|case| case.spacing).collect(),
        written_by: None,
    })
}
