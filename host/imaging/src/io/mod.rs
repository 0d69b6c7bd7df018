//! Image files: voxels and geometry in, voxels and the same geometry out.
//!
//! A file's ending picks the format (`format.rs`), whose module does the rest. To read, that module checks the header and hands over a reader of the stored bytes
//! (`voxels.rs`), which become an [`Image`] or a [`LabelMap`] with axes (channel, z, y, x); arrays and spacings are those that nnU-Net's
//! class gives which a [`Reader`] stands for: one for all files of a data set. The [`Geometry`] of a case travels beside its voxels,
//! untouched, until a prediction is written with it, in its source's format or another; where the reader has turned the voxels, they are
//! turned back. All files, of whatever kind, are written by [`write_atomically`], so that nobody ever finds half a
//! file under its final name.

mod atomic;
mod bits;
mod bmp;
mod error;
mod file;
mod format;
mod geometry;
mod gipl;
mod gzip;
mod json;
mod limit;
mod metaimage;
mod nifti;
mod nrrd;
mod orientation;
mod png;
mod reader;
mod source;
mod text;
mod tiff;
mod values;
mod voxels;

use std::path::{Path, PathBuf};

pub use atomic::{ABANDONED, remove_leftovers, sync_folder, write_atomically};
pub use error::Error;
pub use file::{open_file, read_file, read_large_file, read_text};
pub use format::endings;
pub use geometry::{Geometry, Placement};
pub use json::{JsonError, number, parse_json, read_json, write_json};
pub use limit::{DEFAULT_MOST_VOXELS, may_have, most_voxels, set_most_voxels};
pub use reader::Reader;

use crate::Volume;
use format::{Format, format_of};
use reader::{Purpose, open_by_any};
use values::Values;

/// Another format is a module with a `FORMAT`, and its entry here.
static FORMATS: &[&Format] = &[&nifti::FORMAT, &nrrd::FORMAT, &metaimage::FORMAT, &gipl::FORMAT, &png::FORMAT, &bmp::FORMAT, &tiff::FORMAT];

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

/// Reads an image by the first of nnU-Net's readers that opens it; see [`Reader::read_image`].
pub fn read_image(path: &Path) -> Result<Image, Error> {
    let (reader, stored) = open_by_any(path, Purpose::Image)?;
    reader.image(path, stored)
}

/// Reads a label map by the first of nnU-Net's readers that opens it; see [`Reader::read_labels`].
pub fn read_labels(path: &Path) -> Result<LabelMap, Error> {
    let (reader, stored) = open_by_any(path, Purpose::Labels)?;
    reader.labels(path, stored)
}

/// The further file that is written with a label map or an image at `path`, with its voxels or its spacing; most formats have none.
pub fn beside(path: &Path, geometry: &Geometry) -> Option<PathBuf> {
    (format_of(path).ok()?.0.beside)(path, geometry)
}

/// Writes a label map with the geometry of the image it belongs to: as 8 unsigned bits if all labels are below 255, else 16, as
/// nnU-Net does (`simpleitk_reader_writer.py`); as 16 signed bits if one is negative.
pub fn write_labels(path: &Path, labels: &Volume<i16>, geometry: &Geometry) -> Result<(), Error> {
    match geometry.source() {
        Some((orientation, source)) => write(path, Values::labels(&orientation.turn_back(labels.clone())), source),
        None => write(path, Values::labels(labels), geometry),
    }
}

/// Writes an image as 32-bit floats, with the geometry of the image it belongs to.
pub fn write_image(path: &Path, image: &Volume<f32>, geometry: &Geometry) -> Result<(), Error> {
    match geometry.source() {
        Some((orientation, source)) => write(path, Values::Image(&orientation.turn_back(image.clone())), source),
        None => write(path, Values::Image(image), geometry),
    }
}

fn write(path: &Path, values: Values, geometry: &Geometry) -> Result<(), Error> {
    (format_of(path)?.0.write)(path, values, geometry)
}
