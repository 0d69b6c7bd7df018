//! NRRD: a text header, then the voxels, x fastest; in one file (`.nrrd`) or two (`.nhdr` and what it names).
//!
//! Read as ITK reads it (`itkNrrdImageIO.cxx`), which is what nnU-Net uses.

mod header;
mod read;
mod write;

pub use read::open;
pub use write::{data_path, write};
