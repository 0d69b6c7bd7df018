//! NIfTI-1 in one file, `.nii` or `.nii.gz`: a header of 348 bytes, then the voxels, x fastest.

mod header;
mod read;
mod write;

pub(super) use header::Header;
pub(super) use read::{read_image, read_labels};
pub(super) use write::{write_image, write_labels};
