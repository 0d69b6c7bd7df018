//! One case from its files to arrays at the plan's spacing.

use std::path::{Path, PathBuf};

use imaging::io::{Geometry, Image};
use imaging::normalise::Normalisation;
use imaging::resample::{Order, new_shape, resample_image, resample_labels};
use imaging::{BoundingBox, Volume, crop};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::os::unix::fs::MetadataExt;

use super::Error;
use super::locations::class_locations;
use crate::dataset::{Case, CaseTarget, Dataset, TargetKind, read_images, read_labels, read_regression};
use crate::plan::{Configuration, Plans};

/// Value of label maps outside the nonzero mask of the image.
const OUTSIDE: i16 = -1;

/// A case as training reads it. All volumes have one spatial shape, in transposed axes (`Plans::transpose_forward`).
#[derive(Clone, Debug, PartialEq)]
pub struct PreprocessedCase {
    /// Normalised and resampled image (C, Z, Y, X).
    pub image: Volume<f32>,
    /// What is needed to bring a prediction back to the raw image.
    pub properties: Properties,
    /// Label maps (1, Z, Y, X) by target; -1 where there is no label and the image is zero.
    pub labels: IndexMap<String, Volume<i16>>,
    /// Regression maps (C, Z, Y, X) by target.
    pub regression: IndexMap<String, Volume<f32>>,
    /// Class indices by target.
    pub classes: IndexMap<String, usize>,
    /// For every labels target sampled voxels (z, y, x) of every entry of `Labels::foreground`, in its order; with an ignore
    /// label one more entry with annotated voxels of any label.
    pub locations: IndexMap<String, Vec<Vec<[i32; 3]>>>,
    /// State of the files that it was made from; see `input_state`.
    pub inputs: String,
}

/// Path, size and time of change of every file of a case, as a hash: a file that was replaced shows, also by an older one.
pub(super) fn input_state(case: &Case) -> String {
    let mut digest = Sha256::new();
    for path in case.files() {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let state = std::fs::metadata(&path).map(|file| (file.len(), file.mtime(), file.mtime_nsec())).ok();
        digest.update(format!("{}\0{state:?}\0", path.display()));
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How a preprocessed image lies in the raw one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Properties {
    /// Spacing of the raw image in mm (z, y, x).
    pub spacing: [f64; 3],
    /// Shape of the raw image (z, y, x).
    pub shape: [usize; 3],
    /// What was kept of the transposed raw image.
    pub bbox: BoundingBox,
    /// Size of `bbox`: the shape that a prediction is resampled to, in transposed axes.
    pub shape_after_crop: [usize; 3],
}

/// Preprocesses a training case with all its targets.
///
/// # Errors
/// When a file cannot be read or does not match the image or `dataset.json`, or a channel cannot be normalised.
pub fn preprocess_case(case: &Case, dataset: &Dataset, plans: &Plans, configuration: &Configuration) -> Result<PreprocessedCase, Error> {
    // Before they are read: a file that changes meanwhile must not pass for the one that was read.
    let inputs = input_state(case);
    let raw = read_images(&case.images, dataset.description.channel_names.len())?;
    let reference = case.images[0].as_path();
    let grid = Grid::new(&raw, plans, configuration);
    let mut labels = IndexMap::new();
    let mut regression = IndexMap::new();
    let mut classes = IndexMap::new();
    for (name, target) in &case.targets {
        let Some(target) = target else { continue };
        match (&dataset.description.targets[name].kind, target) {
            (TargetKind::Labels(meaning), CaseTarget::File(path)) => {
                let map = read_labels(path, meaning, &raw, reference)?;
                labels.insert(name.clone(), grid.crop_labels(&map));
            }
            (TargetKind::Regression { channels, .. }, CaseTarget::File(path)) => {
                let map = read_regression(path, *channels, &raw, reference)?;
                regression.insert(name.clone(), grid.resample(&grid.crop(&map), Order::Linear));
            }
            (_, CaseTarget::Class(index)) => {
                classes.insert(name.clone(), *index);
            }
            (TargetKind::Class { .. }, CaseTarget::File(_)) => unreachable!("discovery gives class targets an index"),
        }
    }
    // nnU-Net normalises what has a label although the image is zero there.
    let labelled = labels.get(crate::dataset::SEGMENTATION).map(|map| map.data());
    let image = grid.image(&raw, reference, labelled, plans, configuration)?;
    let labels: IndexMap<String, Volume<i16>> = labels.into_iter().map(|(name, map)| (name, grid.resample_labels(&map))).collect();
    let locations = labels
        .iter()
        .filter_map(|(name, map)| match &dataset.description.targets[name].kind {
            TargetKind::Labels(meaning) => Some((name.clone(), class_locations(map, meaning))),
            _ => None,
        })
        .collect();
    Ok(PreprocessedCase { image, properties: grid.properties(&raw), labels, regression, classes, locations, inputs })
}

/// Preprocesses the image files of a case that has no targets, for prediction; one file a channel.
///
/// # Errors
/// When a file cannot be read, the channels do not match each other or the plans, or a channel cannot be normalised.
pub fn preprocess_image(
    paths: &[PathBuf],
    plans: &Plans,
    configuration: &Configuration,
) -> Result<(Volume<f32>, Properties, Geometry), Error> {
    let raw = read_images(paths, configuration.normalization_schemes.len())?;
    let grid = Grid::new(&raw, plans, configuration);
    let image = grid.image(&raw, &paths[0], None, plans, configuration)?;
    Ok((image, grid.properties(&raw), raw.geometry))
}

/// The way from raw voxels to preprocessed ones, the same for an image and its targets.
struct Grid {
    transpose: [usize; 3],
    bbox: BoundingBox,
    /// Nonzero mask inside `bbox`.
    mask: Vec<bool>,
    spacing: [f64; 3],
    new_spacing: [f64; 3],
    new_shape: [usize; 3],
}

impl Grid {
    fn new(raw: &Image, plans: &Plans, configuration: &Configuration) -> Self {
        let transpose = plans.transpose_forward;
        let image = raw.volume.transpose(transpose);
        let mask = crop::nonzero_mask(&image);
        let bbox = crop::bounding_box(&mask, image.spatial());
        let [z, y, x] = image.spatial();
        let mask = Volume::new([1, z, y, x], mask).crop(&bbox).into_data();
        let raw_spacing = raw.geometry.spacing();
        let spacing = transpose.map(|axis| raw_spacing[axis]);
        let new_spacing = configuration.spacing_zyx(spacing[0]);
        Self { transpose, bbox, mask, spacing, new_spacing, new_shape: new_shape(bbox.size(), spacing, new_spacing) }
    }

    fn properties(&self, raw: &Image) -> Properties {
        Properties { spacing: raw.geometry.spacing(), shape: raw.volume.spatial(), bbox: self.bbox, shape_after_crop: self.bbox.size() }
    }

    fn crop<T: Copy>(&self, raw: &Volume<T>) -> Volume<T> {
        raw.transpose(self.transpose).crop(&self.bbox)
    }

    fn crop_labels(&self, raw: &Volume<i16>) -> Volume<i16> {
        let mut labels = self.crop(raw);
        for (label, inside) in labels.data_mut().iter_mut().zip(&self.mask) {
            if *label == 0 && !inside {
                *label = OUTSIDE;
            }
        }
        labels
    }

    /// The image, normalised before it is resampled: a resampled mask would no longer fit the voxels.
    fn image(
        &self,
        raw: &Image,
        path: &Path,
        labelled: Option<&[i16]>,
        plans: &Plans,
        configuration: &Configuration,
    ) -> Result<Volume<f32>, Error> {
        let mut image = self.crop(&raw.volume);
        let (channels, planned) = (image.channels(), configuration.normalization_schemes.len());
        if channels != planned {
            return Err(Error::Channels { found: planned, expected: channels });
        }
        let mask: Vec<bool> = match labelled {
            Some(labels) => labels.iter().map(|label| *label >= 0).collect(),
            None => self.mask.clone(),
        };
        for channel in 0..channels {
            let wrap = |source| Error::Normalise { path: path.to_path_buf(), channel, source };
            let scheme = Normalisation::from_plans_name(&configuration.normalization_schemes[channel]).map_err(wrap)?;
            let mask = configuration.use_mask_for_norm[channel].then_some(mask.as_slice());
            let properties = plans.foreground_intensity_properties_per_channel.get(&channel.to_string());
            scheme.apply(image.channel_mut(channel), mask, properties).map_err(wrap)?;
        }
        let order = if configuration.resampling_fn_data_kwargs.order == 1 { Order::Linear } else { Order::Cubic };
        Ok(self.resample(&image, order))
    }

    fn resample(&self, image: &Volume<f32>, order: Order) -> Volume<f32> {
        resample_image(image, self.new_shape, self.spacing, self.new_spacing, order)
    }

    fn resample_labels(&self, labels: &Volume<i16>) -> Volume<i16> {
        resample_labels(labels, self.new_shape, self.spacing, self.new_spacing)
    }
}
