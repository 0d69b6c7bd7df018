//! NIfTI-1 in one file, `.nii` or `.nii.gz`: a header of 348 bytes, then the voxels, x fastest.

mod header;
mod read;
mod write;

pub use header::Header;
pub use read::open;
pub use write::write;
