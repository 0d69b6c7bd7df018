//! One case from its files to arrays at the plan's spacing.
//!
//! [`CroppedCase`] is what all configurations of a plan have in common: files read and checked, axes transposed, the empty
//! border cut away. From there every configuration normalises and resamples for itself.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use imaging::io::{Geometry, Image, may_have, most_voxels};
use imaging::normalise::Normalisation;
use imaging::resample::{Order, Rule, new_shape, resample_image, resample_labels};
use imaging::{BoundingBox, Volume, crop};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Error;
use super::locations::class_locations;
use crate::dataset::{self, Case, CaseTarget, Dataset, SEGMENTATION, TargetKind, read_images};
use crate::hash::{sha256, sha256_of_file};
use crate::kinds::{Beside, Form, Map};
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
    /// Regression and weight maps (C, Z, Y, X) by target.
    pub maps: IndexMap<String, Volume<f32>>,
    /// Class indices by target.
    pub classes: IndexMap<String, usize>,
    /// For every labels target sampled voxels (z, y, x) of every entry of `Labels::foreground`, in its order; with an ignore
    /// label one more entry with annotated voxels of any label.
    pub locations: IndexMap<String, Vec<Vec<[i32; 3]>>>,
    /// The files that it was made from.
    pub inputs: Inputs,
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

/// The files that a case was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// Their state: see `state_of`.
    #[serde(rename = "inputs")]
    pub state: String,
    /// Their content: see `content_of`. What versions up to 2026-11 made lacks it.
    #[serde(default)]
    pub content: Option<String>,
}

/// Path within `folder`, size and time of change of files, as a hash: a file that was replaced shows, also by an older one. Where the
/// data set lies, and how its path is written, does not.
pub(super) fn state_of<'a>(files: impl Iterator<Item = &'a Path>, folder: &Path) -> String {
    let mut states = String::new();
    for path in files {
        let state = std::fs::metadata(path).map(|file| (file.len(), file.mtime(), file.mtime_nsec())).ok();
        states += &format!("{}\0{state:?}\0", path.strip_prefix(folder).unwrap_or(path).display());
    }
    sha256(states)
}

/// Path within `folder` and content of files, as a hash; none where one cannot be read.
pub(super) fn content_of<'a>(files: impl Iterator<Item = &'a Path>, folder: &Path) -> Option<String> {
    let mut contents = String::new();
    for path in files {
        contents += &format!("{}\0{}\0", path.strip_prefix(folder).unwrap_or(path).display(), sha256_of_file(path).ok()?);
    }
    Some(sha256(contents))
}

/// A training case with all its targets, read and cropped.
pub struct CroppedCase {
    image: CroppedImage,
    /// The kind of every target that is stored as labels, and its map, -1 where the image is empty.
    labels: IndexMap<String, (TargetKind, Volume<i16>)>,
    maps: IndexMap<String, Volume<f32>>,
    classes: IndexMap<String, usize>,
    inputs: Inputs,
}

impl CroppedCase {
    /// Reads the files of a case.
    ///
    /// # Errors
    /// When a file cannot be read or does not match the image or `dataset.json`.
    pub fn read(case: &Case, dataset: &Dataset, plans: &Plans) -> Result<Self, Error> {
        // Before they are read: a file that changes meanwhile must not pass for the one that was read.
        let (state, content) = (state_of(case.files(), &dataset.folder), content_of(case.files(), &dataset.folder));
        let reader = plans.reader()?;
        let of_case = |error| dataset::Error::of_case(&case.id, error);
        let raw = read_images(reader, &case.images, dataset.description.channel_names.len()).map_err(of_case)?;
        let reference = case.images[0].as_path();
        let beside = Beside { reader, image: &raw, path: reference };
        let mut raw_maps = Vec::new();
        let mut classes = IndexMap::new();
        for (name, target) in &case.targets {
            let kind = &dataset.description.targets[name].kind;
            match (kind.form(), target) {
                (_, None) => {}
                (Form::Voxels(voxels), Some(CaseTarget::File(path))) => {
                    raw_maps.push((name, kind, voxels.read(path, &beside).map_err(of_case)?));
                }
                (_, Some(CaseTarget::Class(index))) => drop(classes.insert(name.clone(), *index)),
                (Form::Whole(_), Some(CaseTarget::File(_))) => unreachable!("discovery gives class targets an index"),
            }
        }
        let (image, _) = CroppedImage::new(raw, reference, plans);
        let (mut labels, mut maps) = (IndexMap::new(), IndexMap::new());
        for (name, kind, map) in raw_maps {
            match map {
                Map::Labels(map) => drop(labels.insert(name.clone(), (kind.clone(), image.crop_labels(map)))),
                Map::Values(map) => drop(maps.insert(name.clone(), image.crop_values(map, kind))),
            }
        }
        Ok(Self { image, labels, maps, classes, inputs: Inputs { state, content } })
    }

    /// Brings the case to the spacing of `configuration`.
    ///
    /// # Errors
    /// When a channel cannot be normalised.
    pub fn preprocess(&self, plans: &Plans, configuration: &Configuration) -> Result<PreprocessedCase, Error> {
        let widest = self.maps.values().map(Volume::channels).max().unwrap_or(0);
        let grid = self.image.grid(configuration, widest)?;
        // nnU-Net normalises what has a label although the image is zero there.
        let labelled = self.labels.get(SEGMENTATION).map(|(_, map)| map.data());
        let image = self.image.preprocess(labelled, plans, configuration)?;
        let rule = configuration.label_rule();
        let labels: IndexMap<String, Volume<i16>> =
            self.labels.iter().map(|(name, (_, map))| (name.clone(), grid.resample_labels(map, rule))).collect();
        // Slices come from where the image's come from; linearly, so that nothing overshoots.
        let image_rule = configuration.image_rule();
        let order_z = if image_rule.order_z == Order::Cubic { Order::Linear } else { image_rule.order_z };
        let rule = Rule { order: Order::Linear, order_z, ..image_rule };
        let maps = self.maps.iter().map(|(name, map)| (name.clone(), grid.resample(map, rule))).collect();
        let meant = self.labels.iter().filter_map(|(name, (kind, _))| Some((name, kind.labels()?)));
        let locations = meant.map(|(name, meaning)| (name.clone(), class_locations(&labels[name], meaning))).collect();
        let (properties, classes, inputs) = (self.image.properties.clone(), self.classes.clone(), self.inputs.clone());
        Ok(PreprocessedCase { image, properties, labels, maps, classes, locations, inputs })
    }
}

/// Preprocesses the image files of a case that has no targets, for prediction.
///
/// # Errors
/// When a file cannot be read, the channels do not match each other or the plans, or a channel cannot be normalised.
pub fn preprocess_image(
    paths: &[PathBuf],
    plans: &Plans,
    configuration: &Configuration,
) -> Result<(Volume<f32>, Properties, Geometry), Error> {
    let read = || Ok(read_images(plans.reader()?, paths, configuration.normalization_schemes.len())?);
    preprocess_raw(read().map_err(Error::of_prediction)?, &paths[0], plans, configuration)
}

/// The same with an image that has been read: all channels at their own spacing. `path` is what errors call it.
///
/// # Errors
/// When it does not fit the plans, or a channel cannot be normalised.
pub fn preprocess_raw(
    raw: Image,
    path: &Path,
    plans: &Plans,
    configuration: &Configuration,
) -> Result<(Volume<f32>, Properties, Geometry), Error> {
    let (cropped, geometry) = CroppedImage::new(raw, path, plans);
    let image = cropped.preprocess(None, plans, configuration).map_err(Error::of_prediction)?;
    Ok((image, cropped.properties, geometry))
}

/// An image in transposed axes without its empty border.
struct CroppedImage {
    /// The (first) file, for messages.
    path: PathBuf,
    /// (C, Z, Y, X).
    volume: Volume<f32>,
    /// Its nonzero mask.
    mask: Vec<bool>,
    /// Spacing in mm along its axes.
    spacing: [f64; 3],
    transpose: [usize; 3],
    properties: Properties,
}

impl CroppedImage {
    fn new(raw: Image, path: &Path, plans: &Plans) -> (Self, Geometry) {
        let transpose = plans.transpose_forward;
        let (raw_shape, raw_spacing) = (raw.volume.spatial(), raw.geometry.spacing());
        let image = transposed(raw.volume, transpose);
        let mask = crop::nonzero_mask(&image);
        let bbox = crop::bounding_box(&mask, image.spatial());
        let [z, y, x] = image.spatial();
        let mask = cropped(Volume::new([1, z, y, x], mask), &bbox).into_data();
        let properties = Properties { spacing: raw_spacing, shape: raw_shape, bbox, shape_after_crop: bbox.size() };
        let volume = cropped(image, &bbox);
        let spacing = transpose.map(|axis| raw_spacing[axis]);
        (Self { path: path.to_path_buf(), volume, mask, spacing, transpose, properties }, raw.geometry)
    }

    fn crop<T: Copy>(&self, raw: Volume<T>) -> Volume<T> {
        cropped(transposed(raw, self.transpose), &self.properties.bbox)
    }

    fn crop_labels(&self, raw: Volume<i16>) -> Volume<i16> {
        let mut labels = self.crop(raw);
        for (label, inside) in labels.data_mut().iter_mut().zip(&self.mask) {
            if *label == 0 && !inside {
                *label = OUTSIDE;
            }
        }
        labels
    }

    fn crop_values(&self, raw: Volume<f32>, kind: &TargetKind) -> Volume<f32> {
        let map = self.crop(raw);
        if !kind.is_vector() || self.transpose == [0, 1, 2] {
            return map;
        }
        // The components of a vector follow the axes.
        let components: Vec<&[f32]> = self.transpose.iter().map(|axis| map.channel(*axis)).collect();
        Volume::new(map.shape(), components.concat())
    }

    /// The way to the spacing of `configuration`, for volumes of as many channels as the image has, or `channels`.
    fn grid(&self, configuration: &Configuration, channels: usize) -> Result<Grid, Error> {
        let channels = self.volume.channels().max(channels);
        let new_shape = shape_at(self.volume.spatial(), self.spacing, configuration, channels, &self.path)?;
        Ok(Grid { spacing: self.spacing, new_spacing: configuration.spacing_zyx(self.spacing[0]), new_shape })
    }

    /// The image, normalised before it is resampled: a resampled mask would no longer fit the voxels.
    fn preprocess(&self, labelled: Option<&[i16]>, plans: &Plans, configuration: &Configuration) -> Result<Volume<f32>, Error> {
        let (channels, planned) = (self.volume.channels(), configuration.normalization_schemes.len());
        if channels != planned {
            return Err(Error::Channels { found: planned, expected: channels });
        }
        let mask: Option<Vec<bool>> = labelled.map(|labels| labels.iter().map(|label| *label >= 0).collect());
        let mask = mask.as_deref().unwrap_or(&self.mask);
        let mut image = self.volume.clone();
        for channel in 0..channels {
            let wrap = |source| Error::Normalise { path: self.path.clone(), channel, source };
            let scheme = Normalisation::from_plans_name(&configuration.normalization_schemes[channel]).map_err(wrap)?;
            let mask = configuration.use_mask_for_norm[channel].then_some(mask);
            let properties = plans.foreground_intensity_properties_per_channel.get(&channel.to_string());
            scheme.apply(image.channel_mut(channel), mask, properties).map_err(wrap)?;
        }
        Ok(self.grid(configuration, 0)?.resample(&image, configuration.image_rule()))
    }
}

/// The shape at the spacing of `configuration` of an image of `shape` at `spacing`, in transposed axes; `path` is for messages.
///
/// # Errors
/// When it would be larger than the program's limit.
pub(super) fn shape_at(
    shape: [usize; 3],
    spacing: [f64; 3],
    configuration: &Configuration,
    channels: usize,
    path: &Path,
) -> Result<[usize; 3], Error> {
    let planned = configuration.spacing_zyx(spacing[0]);
    let shape = if configuration.resamples() { new_shape(shape, spacing, planned) } else { shape };
    if may_have(shape.into_iter().chain([channels])) {
        return Ok(shape);
    }
    Err(Error::TooLarge { path: path.to_path_buf(), spacing, planned, shape, most: most_voxels() })
}

/// The way from a cropped image to the plan's spacing, the same for an image and its targets.
struct Grid {
    spacing: [f64; 3],
    new_spacing: [f64; 3],
    new_shape: [usize; 3],
}

impl Grid {
    fn resample(&self, image: &Volume<f32>, rule: Rule) -> Volume<f32> {
        resample_image(image, self.new_shape, self.spacing, self.new_spacing, rule)
    }

    fn resample_labels(&self, labels: &Volume<i16>, rule: Rule) -> Volume<i16> {
        resample_labels(labels, self.new_shape, self.spacing, self.new_spacing, rule)
    }
}

/// Most images need neither of these, and then nothing is copied.
fn transposed<T: Copy>(volume: Volume<T>, axes: [usize; 3]) -> Volume<T> {
    if axes == [0, 1, 2] { volume } else { volume.transpose(axes) }
}

fn cropped<T: Copy>(volume: Volume<T>, bbox: &BoundingBox) -> Volume<T> {
    if bbox.size() == volume.spatial() { volume } else { volume.crop(bbox) }
}
