//! Plans: at which spacing a data set is trained, on which patches, by which network.
//!
//! [`plan()`] turns a fingerprint and a `dataset.json` into [`Plans`] by the rules of one of nnU-Net's planners ([`PlanOptions`], `preset`);
//! [`Plans::read`] takes a plans file of ours or of any nnU-Net v2. One [`Configuration`] (`2d`, `3d_fullres`, `3d_lowres`, or one
//! that the user added) is what preprocessing, network and training go by.

mod architecture;
mod configuration;
mod error;
mod estimate;
mod fit;
mod legacy;
mod mark;
mod options;
mod patch;
mod planner;
mod preset;
mod resampling;
mod spacing;
#[cfg(test)]
mod tests;
mod topology;
mod unet;

use std::path::Path;

use imaging::io::{JsonError, Reader};
use imaging::normalise::IntensityProperties;
use indexmap::{IndexMap, IndexSet};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use architecture::Architecture;
pub use configuration::{Configuration, NextStage};
pub use error::Error;
pub use options::PlanOptions;
pub use patch::three_dimensional;
pub use planner::plan;
pub use preset::PlannerKind;
pub use resampling::{Resampling, SPLINES};
pub use unet::{PLAIN, PlannedUnet, RESIDUAL};

use crate::name::Name;
use crate::nearest::hint;
use imaging::io::write_json;

/// A plans file. Keys and their order are nnU-Net's; keys that it does not know are kept at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plans {
    /// Name of the data set, such as `Dataset004_Hippocampus`.
    pub dataset_name: Name,
    /// Name of these plans, and of their file.
    pub plans_name: Name,
    /// Median spacing (mm) of the raw images, in transposed axes.
    pub original_median_spacing_after_transp: Vec<f64>,
    /// Median shape (voxels) of the cropped images, in transposed axes.
    pub original_median_shape_after_transp: Vec<usize>,
    /// nnU-Net's class that reads the images.
    pub image_reader_writer: String,
    /// Axis `i` of preprocessed data is axis `transpose_forward[i]` of the image.
    pub transpose_forward: [usize; 3],
    /// The inverse of `transpose_forward`.
    pub transpose_backward: [usize; 3],
    /// Configurations as the file has them, inheritance not resolved; see [`Plans::configuration`].
    pub configurations: IndexMap<Name, Map<String, Value>>,
    /// Name of the planner.
    pub experiment_planner_used: String,
    /// nnU-Net's class for labels; older files lack it.
    #[serde(default = "label_manager")]
    pub label_manager: String,
    /// Intensities inside the foreground, by channel number.
    #[serde(alias = "foreground_intensity_properties_by_modality")]
    pub foreground_intensity_properties_per_channel: IndexMap<String, IntensityProperties>,
    /// Further keys.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn label_manager() -> String {
    "LabelManager".to_owned()
}

impl Plans {
    /// Reads a plans file, ours or nnU-Net's.
    ///
    /// # Errors
    /// When the file cannot be read or is no plans file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let plans: Self = imaging::io::read_json(path).map_err(|error| match error {
            JsonError::Read(source) => Error::Read { path: path.to_path_buf(), source },
            source => Error::Json { path: path.to_path_buf(), source },
        })?;
        let mut axes = plans.transpose_forward;
        axes.sort_unstable();
        let inverse = axes == [0, 1, 2] && (0..3).all(|i| plans.transpose_backward.get(plans.transpose_forward[i]) == Some(&i));
        if !inverse {
            return Err(Error::Transpose {
                path: path.to_path_buf(),
                forward: plans.transpose_forward,
                backward: plans.transpose_backward,
            });
        }
        Ok(plans)
    }

    /// Writes a plans file. Configurations that somebody added to an existing file are kept.
    ///
    /// # Errors
    /// When the file exists, was not written by this program or was edited since, and `overwrite` is not set; when it cannot be
    /// written.
    pub fn write(&self, path: &Path, overwrite: bool) -> Result<(), Error> {
        let mut plans = self.clone();
        mark::mark(&mut plans);
        if path.exists() {
            let existing = Self::read(path)?;
            if !overwrite && !mark::is_unchanged(&existing) {
                return Err(Error::NotOurs { path: path.to_path_buf() });
            }
            let planned = mark::planned(&existing);
            for (name, configuration) in existing.configurations.into_iter().filter(|(name, _)| !planned.contains(name)) {
                if plans.configurations.contains_key(&name) && !overwrite {
                    return Err(Error::NotOurs { path: path.to_path_buf() });
                }
                plans.configurations.entry(name).or_insert(configuration);
            }
        }
        write_json(path, &plans)?;
        Ok(())
    }

    /// The configuration `name`, with what it inherits (`inherits_from`) filled in; its own keys win. One of an older nnU-Net is
    /// brought to today's form.
    ///
    /// # Errors
    /// When there is no such configuration, inheritance is circular, a key is missing or broken, or the configuration asks
    /// for what this version does not have.
    pub fn configuration(&self, name: &str) -> Result<Configuration, Error> {
        let mut resolved = self.resolve(name)?;
        legacy::upgrade(name, &mut resolved)?;
        Configuration::from_json(name, Value::Object(resolved))
    }

    /// The class that reads the images.
    ///
    /// # Errors
    /// When it is none of nnU-Net's own.
    pub fn reader(&self) -> Result<Reader, Error> {
        Reader::from_name(&self.image_reader_writer).ok_or_else(|| Error::UnknownReader {
            plans: self.plans_name.to_string(),
            reader: self.image_reader_writer.clone(),
            available: Reader::ALL.map(Reader::name).join(", "),
        })
    }

    fn resolve(&self, name: &str) -> Result<Map<String, Value>, Error> {
        let mut chain = IndexSet::new();
        let mut next = name;
        loop {
            let Some(own) = self.configurations.get(next) else {
                let names = self.configurations.keys().map(AsRef::as_ref);
                return Err(Error::UnknownConfiguration {
                    plans: self.plans_name.to_string(),
                    name: next.to_owned(),
                    hint: hint(next, names),
                });
            };
            if !chain.insert(next) {
                let chain: Vec<&str> = chain.into_iter().chain([next]).collect();
                return Err(Error::Circular { plans: self.plans_name.to_string(), chain: chain.join(" → ") });
            }
            match own.get("inherits_from") {
                None => break,
                Some(Value::String(parent)) => next = parent,
                Some(other) => {
                    let (name, key) = (next.to_owned(), "inherits_from".to_owned());
                    return Err(Error::Value { name, key, found: other.to_string(), expected: "the name of a configuration".to_owned() });
                }
            }
        }
        let mut merged = Map::new();
        for name in chain.into_iter().rev() {
            merged.extend(self.configurations[name].clone());
        }
        Ok(merged)
    }
}
