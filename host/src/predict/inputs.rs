//! What a network sees of a case, and what leads from its outputs back to the raw image.

use super::Error;
use data::plan::{Configuration, Plans};
use data::preprocess::{Properties, StoredCase, preprocess_image, preprocess_raw};
use imaging::io::{Geometry, Image};
use imaging::{BoundingBox, Volume};
use std::path::{Path, PathBuf};

/// What a network sees.
#[derive(Debug)]
pub struct Inputs {
    /// The preprocessed image (C, Z, Y, X).
    pub image: Volume<f32>,
}

/// A case that is ready for the network.
#[derive(Debug)]
pub struct Preprocessed {
    /// What the network sees.
    pub inputs: Inputs,
    /// What preprocessing did, which is undone afterwards.
    pub properties: Properties,
    /// Where the raw image lies in the patient.
    pub geometry: Geometry,
}

impl Preprocessed {
    /// Reads and preprocesses the image files of a case.
    ///
    /// # Errors
    /// When one cannot be read, they do not fit each other or the plans, or a channel cannot be normalised.
    pub fn from_files(paths: &[PathBuf], plans: &Plans, configuration: &Configuration) -> Result<Self, Error> {
        Self::new(preprocess_image(paths, plans, configuration)?, &paths[0], configuration)
    }

    /// Preprocesses an image that has been read: all channels at their own spacing. `path` is what errors call it.
    ///
    /// # Errors
    /// When it does not fit the plans, or a channel cannot be normalised.
    pub fn from_image(image: Image, path: &Path, plans: &Plans, configuration: &Configuration) -> Result<Self, Error> {
        Self::new(preprocess_raw(image, path, plans, configuration)?, path, configuration)
    }

    /// A case of the store, whose raw image has this geometry.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stored(case: &StoredCase, geometry: Geometry) -> Result<Self, Error> {
        let image = case.image(&BoundingBox::whole(case.spatial()))?;
        Ok(Self { inputs: Inputs { image }, properties: case.properties().clone(), geometry })
    }

    fn new(
        (image, properties, geometry): (Volume<f32>, Properties, Geometry),
        path: &Path,
        configuration: &Configuration,
    ) -> Result<Self, Error> {
        if configuration.dims() == 3 && geometry.is_planar() {
            return Err(Error::Planar { path: path.to_owned() });
        }
        Ok(Self { inputs: Inputs { image }, properties, geometry })
    }
}
