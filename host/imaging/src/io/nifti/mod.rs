//! NIfTI in one file, `.nii` or `.nii.gz`: a header of 348 bytes (version 1) or 540 (version 2), then the voxels, x fastest.
//!
//! `fields` knows where the header's numbers lie, `header` what they mean.

mod fields;
mod header;
mod read;
mod write;

pub use header::{Header, Library};
pub use read::open;
pub use write::write;
