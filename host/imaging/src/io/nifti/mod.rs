//! NIfTI in one file, `.nii` or `.nii.gz`: a header of 348 bytes (version 1) or 540 (version 2), then the voxels, x fastest.
//!
//! `fields` knows where the header's numbers lie, `header` what they mean.

mod fields;
mod header;
mod read;
mod write;

pub use header::Header;

use super::Reader;
use super::format::Format;
use header::Library;

pub(super) const FORMAT: Format = Format {
    name: "NIfTI",
    endings: &[(".nii.gz", &[Reader::SimpleItk, Reader::Nibabel]), (".nii", &[Reader::Nibabel, Reader::SimpleItk])],
    open: |path, reader, _| match reader {
        Reader::Nibabel | Reader::NibabelReoriented => Some(read::open(path, reader, Library::Nibabel)),
        reader => reader.is_of_itk().then(|| read::open(path, reader, Library::SimpleItk)),
    },
    write: write::write,
    beside: |_, _| None,
};
