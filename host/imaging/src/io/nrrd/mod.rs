//! NRRD: a text header, then the voxels, x fastest; in one file (`.nrrd`) or two (`.nhdr` and what it names).
//!
//! Read as ITK reads it (`itkNrrdImageIO.cxx`), which is what nnU-Net uses.

mod header;
mod read;
mod write;

use super::Reader;
use super::format::{Format, ends_with};

pub(super) const FORMAT: Format = Format {
    name: "NRRD",
    endings: &[(".nrrd", &[Reader::SimpleItk]), (".nhdr", &[Reader::SimpleItk])],
    open: |path, reader, _| reader.is_of_itk().then(|| read::open(path)),
    write: write::write,
    beside: |path, _| ends_with(path, ".nhdr").then(|| write::data_path(path)),
};
