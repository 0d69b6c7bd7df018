//! Pictures of cases and patches, as PNG files.

pub(in crate::report) mod canvas;
pub mod contact_sheet;
pub mod overlay;
mod plane;

use std::path::{Path, PathBuf};

use imaging::Volume;

pub use plane::Layer;

/// Why a picture cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A layer does not lie on the image's voxels.
    #[error("{path}: cannot draw a map of shape (z y x) {found:?} over an image of shape {expected:?}: both must lie on the same voxels", path = .path.display())]
    Shape {
        /// The picture.
        path: PathBuf,
        /// Shape of the layer.
        found: [usize; 3],
        /// Shape of the image.
        expected: [usize; 3],
    },
    /// The file cannot be written.
    #[error(transparent)]
    Io(#[from] imaging::io::Error),
}

fn check_shape(path: &Path, layer: Layer, image: &Volume<f32>) -> Result<(), Error> {
    let (found, expected) = (layer.spatial(), image.spatial());
    if found == expected { Ok(()) } else { Err(Error::Shape { path: path.to_owned(), found, expected }) }
}
