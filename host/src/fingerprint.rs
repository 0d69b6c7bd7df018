//! The fingerprint of a data set: shapes, spacings and foreground intensities, which planning and CT normalisation go by.
//!
//! Every case is read once, cropped to its nonzero region and reduced to a few numbers and a bounded sample of foreground
//! intensities. Keys and rules are those of nnU-Net's `fingerprint_extractor.py`. It draws the same number of foreground
//! voxels from every case, at random; here every foreground voxel counts, weighted so that every case weighs the same, so
//! that intensities agree with nnU-Net's up to its sampling noise.

use std::path::Path;

use imaging::normalise::IntensityProperties;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::dataset::{self, Case, Dataset, Progress, Stage, for_each_case, read_images, read_labels};

/// Foreground intensities kept of all cases together, for each channel; they only serve the percentiles.
const MAX_SAMPLES: usize = 10_000_000;
/// Foreground intensities kept of any case, however many cases there are.
const MIN_SAMPLES_PER_CASE: usize = 1_000;

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
        source: serde_json::Error,
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
        let text = std::fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.to_path_buf(), source })
    }

    /// Writes a `dataset_fingerprint.json`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        imaging::io::write_atomically(path, |out| dataset::write_json(out, self))?;
        Ok(())
    }
}

/// Reads all cases on `threads` threads and extracts the fingerprint.
///
/// # Errors
/// When a case cannot be read or breaks a rule of the format, or no case has foreground.
pub fn extract(dataset: &Dataset, threads: usize, progress: &(dyn Fn(Progress) + Sync)) -> Result<Fingerprint, Error> {
    let limit = (MAX_SAMPLES / dataset.cases.len().max(1)).max(MIN_SAMPLES_PER_CASE);
    let cases = for_each_case(&dataset.cases, threads, Stage::Fingerprint, progress, |case| case_statistics(case, dataset, limit))?;
    let mut properties = IndexMap::new();
    for channel in 0..dataset.description.channel_names.len() {
        let statistics: Vec<&Intensities> = cases.iter().filter_map(|case| case.channels.get(channel)).collect();
        if statistics.is_empty() {
            return Err(Error::NoForeground { folder: dataset.folder.clone() });
        }
        properties.insert(channel.to_string(), pool(&statistics));
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

struct CaseStatistics {
    shape: [usize; 3],
    spacing: [f64; 3],
    relative_size: f64,
    /// One a channel; none at all when the case has no foreground.
    channels: Vec<Intensities>,
}

struct Intensities {
    mean: f64,
    variance: f64,
    min: f32,
    max: f32,
    sample: Vec<f32>,
}

fn case_statistics(case: &Case, dataset: &Dataset, limit: usize) -> Result<CaseStatistics, Error> {
    let description = &dataset.description;
    let image = read_images(&case.images, description.channel_names.len())?;
    let spatial = image.volume.spatial();
    let bbox = imaging::crop::bounding_box(&imaging::crop::nonzero_mask(&image.volume), spatial);
    let foreground: Vec<bool> = match case.segmentation() {
        Some(path) => read_labels(path, description.segmentation(), &image, &case.images[0])?
            .crop(&bbox)
            .data()
            .iter()
            .map(|label| *label > 0)
            .collect(),
        None => Vec::new(),
    };
    let cropped = image.volume.crop(&bbox);
    let channels = (0..cropped.channels())
        .filter_map(|channel| {
            let values = cropped.channel(channel).iter().zip(&foreground).filter(|(_, inside)| **inside);
            Intensities::of(values.map(|(value, _)| *value), limit)
        })
        .collect();
    let voxels = |shape: [usize; 3]| shape.iter().product::<usize>() as f64;
    Ok(CaseStatistics {
        shape: cropped.spatial(),
        spacing: image.geometry.spacing(),
        relative_size: voxels(cropped.spatial()) / voxels(spatial),
        channels,
    })
}

impl Intensities {
    /// `None` without values. At most `limit` of them are kept, evenly spread.
    fn of(values: impl Iterator<Item = f32> + Clone, limit: usize) -> Option<Self> {
        let count = values.clone().count();
        if count == 0 {
            return None;
        }
        let mean = values.clone().map(f64::from).sum::<f64>() / count as f64;
        Some(Self {
            mean,
            variance: values.clone().map(|value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count as f64,
            min: values.clone().fold(f32::INFINITY, f32::min),
            max: values.clone().fold(f32::NEG_INFINITY, f32::max),
            sample: values.step_by(count.div_ceil(limit)).collect(),
        })
    }
}

/// Joins cases so that each weighs the same, however large its foreground.
fn pool(cases: &[&Intensities]) -> IntensityProperties {
    let n = cases.len() as f64;
    let mean = cases.iter().map(|case| case.mean).sum::<f64>() / n;
    let variance = cases.iter().map(|case| case.variance + (case.mean - mean).powi(2)).sum::<f64>() / n;
    let mut sample: Vec<(f32, f32)> =
        cases.iter().flat_map(|case| case.sample.iter().map(|value| (*value, 1.0 / case.sample.len() as f32))).collect();
    sample.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let percentile = |q: f64| weighted_percentile(&sample, q * n);
    IntensityProperties {
        max: cases.iter().map(|case| f64::from(case.max)).fold(f64::NEG_INFINITY, f64::max),
        mean,
        median: percentile(0.5),
        min: cases.iter().map(|case| f64::from(case.min)).fold(f64::INFINITY, f64::min),
        percentile_00_5: percentile(0.005),
        percentile_99_5: percentile(0.995),
        std: variance.sqrt(),
    }
}

/// The first of the sorted (value, weight) pairs at which the weights add up to `weight`.
fn weighted_percentile(sample: &[(f32, f32)], weight: f64) -> f64 {
    let mut sum = 0.0;
    for (value, own) in sample {
        sum += f64::from(*own);
        if sum >= weight {
            return f64::from(*value);
        }
    }
    sample.last().map_or(f64::NAN, |(value, _)| f64::from(*value))
}

/// `numpy.median(values)`, NaN without values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_weigh_the_same() {
        let small = Intensities::of([0.0f32, 2.0].into_iter(), 100).expect("values");
        let large = Intensities::of((0..1000).map(|_| 11.0f32), 100).expect("values");
        assert_eq!(large.sample.len(), 100);
        let pooled = pool(&[&small, &large]);
        assert_eq!((pooled.mean, pooled.min, pooled.max), (6.0, 0.0, 11.0));
        // Half of the weight lies on 0 and 2 (variance 1), half on 11; the means are 5 from the pooled one.
        assert!((pooled.std - 25.5f64.sqrt()).abs() < 1e-12);
        assert_eq!((pooled.percentile_00_5, pooled.median, pooled.percentile_99_5), (0.0, 2.0, 11.0));
    }

    #[test]
    fn nnunets_fingerprint_survives_reading_and_writing() {
        let text = include_str!("../../tests/golden/hippocampus_fingerprint.json");
        let fingerprint: Fingerprint = serde_json::from_str(text).expect("golden file");
        assert_eq!(fingerprint.spacings.len(), 200);
        let mut written = Vec::new();
        dataset::write_json(&mut written, &fingerprint).expect("written");
        assert_eq!(String::from_utf8(written).expect("UTF-8"), text.trim_end());
    }

    #[test]
    fn hippocampus_agrees_with_nnunet() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/Dataset004_Hippocampus");
        if !Path::new(folder).is_dir() {
            eprintln!("SKIPPED: {folder} is not there");
            return;
        }
        let expected = include_str!("../../tests/golden/hippocampus_fingerprint.json");
        let expected: Fingerprint = serde_json::from_str(expected).expect("golden file");
        let dataset = Dataset::open(folder, None).expect("valid");
        let found = extract(&dataset, 2, &|_| {}).expect("extracted");
        assert_eq!(found.shapes_after_crop, expected.shapes_after_crop);
        assert_eq!(found.spacings, expected.spacings);
        assert_eq!(found.median_relative_size_after_cropping, expected.median_relative_size_after_cropping);
        let [found, expected] = [found, expected].map(|f| f.foreground_intensity_properties_per_channel["0"]);
        assert_eq!((found.min, found.max), (expected.min, expected.max));
        // nnU-Net's numbers are samples of ours.
        for (found, expected) in [
            (found.mean, expected.mean),
            (found.std, expected.std),
            (found.median, expected.median),
            (found.percentile_00_5, expected.percentile_00_5),
            (found.percentile_99_5, expected.percentile_99_5),
        ] {
            assert!((found / expected - 1.0).abs() < 1e-3, "{found} instead of {expected}");
        }
    }

    #[test]
    fn no_values_give_no_intensities() {
        assert!(Intensities::of([].into_iter(), 10).is_none());
        assert_eq!(median(&[3.0, 1.0, 2.0, 10.0]), 2.5);
    }
}
