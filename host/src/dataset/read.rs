//! Opens the files of one case and checks them against each other and against `dataset.json`.

use std::path::{Path, PathBuf};

use imaging::io::{Geometry, Image};
use imaging::{Volume, io};

use super::{Error, Labels};

/// Reads the image files of a case into one volume of `channels` channels: one file each, or fewer that hold several.
///
/// # Errors
/// When a file cannot be read, the channels are not as many, differ in shape or spacing, or hold NaN or infinity.
pub fn read_images(paths: &[PathBuf], channels: usize) -> Result<Image, Error> {
    let Some((first, others)) = paths.split_first() else {
        return Err(Error::ChannelCount { path: PathBuf::from("no image"), found: 0, expected: channels });
    };
    let mut image = read_finite(first)?;
    for path in others {
        let next = read_finite(path)?;
        check_match(path, next.volume.spatial(), &next.geometry, first, &image)?;
        let [a, b] = [image.volume.shape(), next.volume.shape()];
        let mut data = image.volume.into_data();
        data.extend(next.volume.into_data());
        image.volume = Volume::new([a[0] + b[0], a[1], a[2], a[3]], data);
    }
    if image.volume.channels() == channels {
        Ok(image)
    } else {
        Err(Error::ChannelCount { path: first.clone(), found: image.volume.channels(), expected: channels })
    }
}

/// Reads a label map that belongs to `image` (which was read from `image_path`).
///
/// # Errors
/// When it cannot be read, differs from the image in shape or spacing, or has a value that `labels` does not name.
pub fn read_labels(path: &Path, labels: &Labels, image: &Image, image_path: &Path) -> Result<Volume<i16>, Error> {
    let map = io::read_labels(path)?;
    check_match(path, map.volume.spatial(), &map.geometry, image_path, image)?;
    let mut named = labels.values();
    named.extend(labels.ignore);
    // Neighbouring voxels mostly agree, so that a new value is rarely looked up.
    let mut last = 0;
    for value in map.volume.data() {
        if *value != last && !named.contains(value) {
            return Err(Error::UnnamedLabel { path: path.to_path_buf(), value: *value, expected: labels.summary() });
        }
        last = *value;
    }
    Ok(map.volume)
}

/// Reads a regression target of `channels` channels that belongs to `image` (which was read from `image_path`).
///
/// # Errors
/// When it cannot be read, differs from the image in shape or spacing, has other channels, or holds NaN or infinity.
pub fn read_regression(path: &Path, channels: usize, image: &Image, image_path: &Path) -> Result<Volume<f32>, Error> {
    let target = read_finite(path)?;
    check_match(path, target.volume.spatial(), &target.geometry, image_path, image)?;
    let found = target.volume.channels();
    if found == channels { Ok(target.volume) } else { Err(Error::ChannelCount { path: path.to_path_buf(), found, expected: channels }) }
}

fn read_finite(path: &Path) -> Result<Image, Error> {
    let image = io::read_image(path)?;
    let Some(index) = image.volume.data().iter().position(|value| !value.is_finite()) else { return Ok(image) };
    let [_, depth, height, width] = image.volume.shape();
    let (row, x) = (index / width, index % width);
    Err(Error::NotFinite {
        path: path.to_path_buf(),
        found: image.volume.data()[index],
        voxel: [row / height / depth, row / height % depth, row % height, x],
    })
}

/// Other shape or spacing is an error, other origin or direction a warning, as nnU-Net has it.
fn check_match(path: &Path, found: [usize; 3], geometry: &Geometry, reference: &Path, image: &Image) -> Result<(), Error> {
    let expected = image.volume.spatial();
    if found != expected {
        return Err(Error::Shape { path: path.to_path_buf(), found, reference: reference.to_path_buf(), expected });
    }
    let (found, expected) = (geometry.spacing(), image.geometry.spacing());
    // numpy.allclose
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-8 + 1e-5 * b.abs();
    if !(0..3).all(|axis| close(found[axis], expected[axis])) {
        return Err(Error::Spacing { path: path.to_path_buf(), found, reference: reference.to_path_buf(), expected });
    }
    if let Some(difference) = geometry.differs_from(&image.geometry) {
        log::warn!("{} and {} differ: {difference}; check that they lie on each other", path.display(), reference.display());
    }
    Ok(())
}
