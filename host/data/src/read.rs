//! Opens the files of one case and checks them against each other and against `dataset.json`.
//!
//! What is checked is one function a rule ([`compare`], [`check_finite`], [`unnamed_labels`]). Reading for training stops at the first
//! that is broken; `check` asks all of them of every file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imaging::Volume;
use imaging::io::{Geometry, Image, Reader};
use imaging::normalise::Normalisation;

use crate::fault::Error;
use crate::labels::Labels;

/// Reads the image files of a case by `reader` into one volume of `channels` channels: one file each, or fewer that hold several.
///
/// # Errors
/// When a file cannot be read, the channels are not as many, differ in shape or spacing, or hold NaN or infinity.
pub fn read_images(reader: Reader, paths: &[PathBuf], channels: usize) -> Result<Image, Error> {
    let Some((first, others)) = paths.split_first() else {
        return Err(Error::ChannelCount { path: PathBuf::from("no image"), found: 0, expected: channels });
    };
    let mut image = read_finite(reader, first)?;
    for path in others {
        let next = read_finite(reader, path)?;
        check_match(Placed::new(path, &next), Placed::new(first, &image))?;
        let [a, b] = [image.volume.shape(), next.volume.shape()];
        let mut data = image.volume.into_data();
        data.extend(next.volume.into_data());
        image.volume = Volume::new([a[0] + b[0], a[1], a[2], a[3]], data);
    }
    check_channels(first, image.volume.channels(), channels)?;
    Ok(image)
}

/// Reads a label map by `reader` that belongs to `image` (which was read from `image_path`).
///
/// # Errors
/// When it cannot be read, differs from the image in shape or spacing, or has a value that `labels` does not name.
pub fn read_labels(reader: Reader, path: &Path, labels: &Labels, image: &Image, image_path: &Path) -> Result<Volume<i16>, Error> {
    let map = reader.read_labels(path)?;
    check_match(Placed { path, shape: map.volume.spatial(), geometry: &map.geometry }, Placed::new(image_path, image))?;
    match unnamed_labels(&map.volume, labels).first_key_value() {
        None => Ok(map.volume),
        Some((value, _)) => Err(Error::UnnamedLabel { path: path.to_path_buf(), value: *value, expected: labels.summary() }),
    }
}

/// Reads by `reader` a regression target of `channels` channels that belongs to `image` (which was read from `image_path`).
///
/// # Errors
/// When it cannot be read, differs from the image in shape or spacing, has other channels, or holds NaN or infinity.
pub fn read_regression(reader: Reader, path: &Path, channels: usize, image: &Image, image_path: &Path) -> Result<Volume<f32>, Error> {
    let target = read_finite(reader, path)?;
    check_match(Placed::new(path, &target), Placed::new(image_path, image))?;
    check_channels(path, target.volume.channels(), channels)?;
    Ok(target.volume)
}

/// A file and where its voxels lie.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub path: &'a Path,
    /// (Z, Y, X).
    pub shape: [usize; 3],
    pub geometry: &'a Geometry,
}

impl<'a> Placed<'a> {
    pub fn new(path: &'a Path, image: &'a Image) -> Self {
        Self { path, shape: image.volume.spatial(), geometry: &image.geometry }
    }
}

/// One way in which a file does not lie on the voxels of another.
pub(crate) enum Mismatch {
    /// It cannot be used.
    Refused(Error),
    /// In words: it can be used, and may be what was meant.
    Doubtful(String),
}

/// All mismatches of two files. Other shape or spacing is an error, other origin or direction a warning, as nnU-Net has it.
pub(crate) fn compare(file: Placed, reference: Placed) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    let (path, by) = (file.path.to_path_buf(), reference.path.to_path_buf());
    if file.shape != reference.shape {
        let error = Error::Shape { path: path.clone(), found: file.shape, reference: by.clone(), expected: reference.shape };
        mismatches.push(Mismatch::Refused(error));
    }
    let (found, expected) = (file.geometry.spacing(), reference.geometry.spacing());
    // numpy.allclose
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-8 + 1e-5 * b.abs();
    if !(0..3).all(|axis| close(found[axis], expected[axis])) {
        mismatches.push(Mismatch::Refused(Error::Spacing { path, found, reference: by, expected }));
    } else if let Some(difference) = file.geometry.differs_from(reference.geometry) {
        mismatches.push(Mismatch::Doubtful(difference));
    }
    mismatches
}

/// Refuses NaN and infinity.
pub(crate) fn check_finite(path: &Path, volume: &Volume<f32>) -> Result<(), Error> {
    let Some(index) = volume.data().iter().position(|value| !value.is_finite()) else { return Ok(()) };
    let [_, depth, height, width] = volume.shape();
    let (row, x) = (index / width, index % width);
    Err(Error::NotFinite {
        path: path.to_path_buf(),
        found: volume.data()[index],
        voxel: [row / height / depth, row / height % depth, row % height, x],
    })
}

/// Refuses another number of channels than `dataset.json` gives.
pub(crate) fn check_channels(path: &Path, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::ChannelCount { path: path.to_path_buf(), found, expected }) }
}

/// Refuses a channel whose values are not those that its name in `dataset.json` stands for; `path` is for messages.
pub(crate) fn check_intensities(path: &Path, number: usize, name: &str, channel: &[f32]) -> Result<(), Error> {
    Normalisation::from_channel_name(name).check(channel).map_err(|source| Error::Intensities {
        path: path.to_path_buf(),
        channel: number,
        name: name.to_owned(),
        source,
    })
}

/// Values of a label map that `labels` does not name, with the number of their voxels.
pub(crate) fn unnamed_labels(map: &Volume<i16>, labels: &Labels) -> BTreeMap<i16, usize> {
    let mut named = labels.values();
    named.extend(labels.ignore);
    let mut unnamed = BTreeMap::new();
    // Neighbouring voxels mostly agree, so that a named value is rarely looked up.
    let mut last = 0;
    for &value in map.data() {
        if value == last || named.contains(&value) {
            last = value;
        } else {
            *unnamed.entry(value).or_default() += 1;
        }
    }
    unnamed
}

fn read_finite(reader: Reader, path: &Path) -> Result<Image, Error> {
    let image = reader.read_image(path)?;
    check_finite(path, &image.volume)?;
    Ok(image)
}

fn check_match(file: Placed, reference: Placed) -> Result<(), Error> {
    for mismatch in compare(file, reference) {
        match mismatch {
            Mismatch::Refused(error) => return Err(error),
            Mismatch::Doubtful(difference) => {
                let (path, by) = (file.path.display(), reference.path.display());
                log::warn!("{path} and {by} differ: {difference}; check that they lie on each other");
            }
        }
    }
    Ok(())
}
