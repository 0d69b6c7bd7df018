//! MetaImage: a text header, then the voxels, x fastest; in one file (`.mha`) or two (`.mhd` and what it names).
//!
//! Read as ITK reads it (`metaImage.cxx`, `itkMetaImageIO.cxx`), which is what nnU-Net uses.

mod header;
mod read;
mod write;

use super::Reader;
use super::format::{Format, ends_with};

pub(super) const FORMAT: Format = Format {
    name: "MetaImage",
    endings: &[(".mha", &[Reader::SimpleItk]), (".mhd", &[Reader::SimpleItk])],
    open: |path, reader, _| reader.is_of_itk().then(|| read::open(path)),
    write: write::write,
    beside: |path, _| ends_with(path, ".mhd").then(|| write::data_path(path)),
};
