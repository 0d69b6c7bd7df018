//! TIFF: stacks of slices and single images, `.tif` and `.tiff`.
//!
//! A stack is read as `Tiff3DIO` reads it and has its spacing in a JSON file beside it (`spacing.rs`); a single image, grey or in colours, as
//! `NaturalImage2DIO` does. That one takes a stack of three or four slices for colours, because scikit-image does; here, a spacing beside
//! the stack says that it is a stack after all. Indices of a palette are values, as tifffile has it.

mod description;
mod directory;
mod disguise;
mod pages;
mod read;
mod spacing;
mod write;

use super::Reader;
use super::format::Format;
use read::Layout;

pub(super) const FORMAT: Format = Format {
    name: "TIFF",
    endings: &[(".tif", &[Reader::NaturalImage2D, Reader::Tiff3D]), (".tiff", &[Reader::Tiff3D])],
    open: |path, reader, _| match reader {
        Reader::NaturalImage2D => Some(read::open(path, reader, Layout::Picture)),
        Reader::Tiff3D => Some(read::open(path, reader, Layout::Stack)),
        _ => None,
    },
    write: write::write,
    beside: |path, geometry| (!geometry.is_planar()).then(|| spacing::spacing_path(path)),
};
