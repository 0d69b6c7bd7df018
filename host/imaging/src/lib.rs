//! The torch-free numeric core: what happens to voxels between a file and a batch, and back.
//!
//! Data passes through it in this order: [`io`] reads a file into a [`Volume`] with its geometry; [`crop`] cuts away the
//! empty border; [`normalise`] scales intensities; [`resample`] brings all cases to one spacing; [`augment`] cuts training
//! patches and varies them; [`mod@derive`] makes further targets of the labels that come out. A prediction goes back the same
//! way: resampled, uncropped, written with the source's geometry. [`plain`] shows text from files without what acts on a terminal.
//!
//! Axes are always (channel, z, y, x) and spacings (z, y, x) in mm, as in nnU-Net. 2D data has one slice.

pub mod augment;
pub mod crop;
pub mod derive;
pub mod failpoint;
pub mod io;
pub mod largest_component;
mod mask;
mod multiversion;
pub mod normalise;
mod pages;
pub mod plain;
pub mod resample;
pub mod surface;
pub mod volume;
pub mod zarr;

pub use volume::{BoundingBox, Volume, VolumeView};
