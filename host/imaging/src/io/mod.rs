//! Image files: voxels and geometry in, voxels and the same geometry out.
//!
//! A file's ending picks the format's module; each reads into [`Image`] or [`LabelMap`] with axes (channel, z, y, x). The
//! [`Geometry`] of a case travels beside its voxels, untouched, until a prediction is written with it. All files, of whatever kind,
//! are written by [`write_atomically`], so that nobody ever finds half a file under its final name.

mod atomic;
mod error;
mod geometry;
mod nifti;

use std::path::Path;

pub use atomic::write_atomically;
pub use error::Error;
pub use geometry::Geometry;

use crate::Volume;

/// An image with real values and where it lies in space.
#[derive(Clone, Debug)]
pub struct Image {
    /// (C, Z, Y, X).
    pub volume: Volume<f32>,
    /// Spacing, position and orientation.
    pub geometry: Geometry,
}

/// A map of integer labels and where it lies in space.
#[derive(Clone, Debug)]
pub struct LabelMap {
    /// (1, Z, Y, X).
    pub volume: Volume<i16>,
    /// Spacing, position and orientation.
    pub geometry: Geometry,
}

enum Format {
    Nifti,
}

const ENDINGS: [(&str, Format); 2] = [(".nii.gz", Format::Nifti), (".nii", Format::Nifti)];

fn format_of(path: &Path) -> Result<&'static Format, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    match ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)) {
        Some((_, format)) => Ok(format),
        None => Err(Error::UnknownEnding { path: path.to_owned() }),
    }
}

/// Reads an image. Stored values are scaled as the file says (NIfTI's `scl_slope`); further dimensions, such as the fourth of a 4D
/// NIfTI, become channels; files with one slice or two dimensions get Z = 1.
pub fn read_image(path: &Path) -> Result<Image, Error> {
    match format_of(path)? {
        Format::Nifti => nifti::read_image(path),
    }
}

/// Reads a label map: one channel, whose values must be integers that fit into 16 bits.
pub fn read_labels(path: &Path) -> Result<LabelMap, Error> {
    match format_of(path)? {
        Format::Nifti => nifti::read_labels(path),
    }
}

/// Writes a label map with the geometry of the image it belongs to: as 8 unsigned bits if all labels are below 255, else 16, as
/// nnU-Net does (`simpleitk_reader_writer.py`); as 16 signed bits if one is negative.
pub fn write_labels(path: &Path, labels: &Volume<i16>, geometry: &Geometry) -> Result<(), Error> {
    match format_of(path)? {
        Format::Nifti => nifti::write_labels(path, labels, geometry),
    }
}

/// Writes an image as 32-bit floats, with the geometry of the image it belongs to.
pub fn write_image(path: &Path, image: &Volume<f32>, geometry: &Geometry) -> Result<(), Error> {
    match format_of(path)? {
        Format::Nifti => nifti::write_image(path, image, geometry),
    }
}
