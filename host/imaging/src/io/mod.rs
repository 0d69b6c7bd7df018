//! Image files: voxels and geometry in, voxels and the same geometry out.
//!
//! A file's ending picks the format's module. To read, that module checks the header and hands over a reader of the stored bytes
//! (`voxels.rs`), which become an [`Image`] or a [`LabelMap`] with axes (channel, z, y, x); arrays and spacings are those that nnU-Net's
//! reader for that ending gives. The [`Geometry`] of a case travels beside its voxels, untouched, until a prediction is written with it,
//! in its source's format or another. All files, of whatever kind, are written by [`write_atomically`], so that nobody ever finds half a
//! file under its final name.

mod atomic;
mod bits;
mod bmp;
mod error;
mod file;
mod geometry;
mod gipl;
mod limit;
mod metaimage;
mod nifti;
mod nrrd;
mod png;
mod source;
mod text;
mod tiff;
mod values;
mod voxels;

use std::path::{Path, PathBuf};

pub use atomic::{ABANDONED, remove_leftovers, sync_folder, write_atomically};
pub use error::Error;
pub use file::{open_file, read_file, read_large_file, read_text};
pub use geometry::{Geometry, Placement};
pub use limit::{DEFAULT_MOST_VOXELS, may_have, most_voxels, set_most_voxels};

use crate::Volume;
use values::Values;
use voxels::Stored;

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

/// The endings of the files that can be read and written, in lower case. Case does not matter in a file's name.
pub const ENDINGS: [&str; 11] = [".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".gipl", ".png", ".bmp", ".tif", ".tiff"];

#[derive(Clone, Copy)]
enum Format {
    Nifti,
    Nrrd,
    MetaImage,
    Gipl,
    Png,
    Bmp,
    Tiff,
}

fn format_of(path: &Path) -> Result<Format, Error> {
    let ending = ENDINGS.into_iter().find(|ending| ends_with(path, ending));
    match ending {
        Some(".nii.gz" | ".nii") => Ok(Format::Nifti),
        Some(".nrrd" | ".nhdr") => Ok(Format::Nrrd),
        Some(".mha" | ".mhd") => Ok(Format::MetaImage),
        Some(".gipl") => Ok(Format::Gipl),
        Some(".bmp") => Ok(Format::Bmp),
        Some(".png") => Ok(Format::Png),
        Some(".tif" | ".tiff") => Ok(Format::Tiff),
        _ => Err(Error::UnknownEnding { path: path.to_owned() }),
    }
}

/// Whether a file's name ends with `ending`, which is in lower case.
fn ends_with(path: &Path, ending: &str) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().to_lowercase().ends_with(ending))
}

/// Opens a file and hands its voxels to `read`.
fn open(path: &Path) -> Result<Stored<'static>, Error> {
    match format_of(path)? {
        Format::Nifti => nifti::open(path),
        Format::Nrrd => nrrd::open(path),
        Format::MetaImage => metaimage::open(path),
        Format::Gipl => gipl::open(path),
        Format::Png => png::open(path),
        Format::Bmp => bmp::open(path),
        Format::Tiff => tiff::open(path),
    }
}

/// Reads an image. Stored values are scaled as the file says (NIfTI's `scl_slope`); further dimensions, such as the fourth of a 4D
/// NIfTI, and colours become channels; files with one slice or two dimensions get Z = 1.
pub fn read_image(path: &Path) -> Result<Image, Error> {
    let (volume, geometry) = open(path)?.read(path)?;
    Ok(Image { volume, geometry })
}

/// Reads a label map: one channel, whose values must be integers that fit into 16 bits.
pub fn read_labels(path: &Path) -> Result<LabelMap, Error> {
    let stored = open(path)?;
    let [channels, ..] = stored.shape;
    if channels != 1 {
        return Err(Error::LabelChannels { path: path.to_owned(), channels });
    }
    let (volume, geometry) = stored.read(path)?;
    Ok(LabelMap { volume, geometry })
}

/// The further file that is written with a label map or an image at `path`, with its voxels or its spacing; most formats have none.
pub fn beside(path: &Path, geometry: &Geometry) -> Option<PathBuf> {
    let has = |ending| ends_with(path, ending);
    match format_of(path).ok()? {
        Format::Nrrd => has(".nhdr").then(|| nrrd::data_path(path)),
        Format::MetaImage => has(".mhd").then(|| metaimage::data_path(path)),
        Format::Tiff => (!geometry.is_planar()).then(|| tiff::spacing_path(path)),
        Format::Nifti | Format::Gipl | Format::Png | Format::Bmp => None,
    }
}

/// Writes a label map with the geometry of the image it belongs to: as 8 unsigned bits if all labels are below 255, else 16, as
/// nnU-Net does (`simpleitk_reader_writer.py`); as 16 signed bits if one is negative.
pub fn write_labels(path: &Path, labels: &Volume<i16>, geometry: &Geometry) -> Result<(), Error> {
    write(path, Values::labels(labels), geometry)
}

/// Writes an image as 32-bit floats, with the geometry of the image it belongs to.
pub fn write_image(path: &Path, image: &Volume<f32>, geometry: &Geometry) -> Result<(), Error> {
    write(path, Values::Image(image), geometry)
}

fn write(path: &Path, values: Values, geometry: &Geometry) -> Result<(), Error> {
    match format_of(path)? {
        Format::Nifti => nifti::write(path, values, geometry),
        Format::Nrrd => nrrd::write(path, values, geometry),
        Format::MetaImage => metaimage::write(path, values, geometry),
        Format::Gipl => gipl::write(path, values, geometry),
        Format::Png => png::write(path, values),
        Format::Bmp => bmp::write(path, values),
        Format::Tiff => tiff::write(path, values, geometry),
    }
}
