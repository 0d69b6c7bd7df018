//! Plans: at which spacing a data set is trained, on which patches, by which network.
//!
//! [`plan_default`] turns a fingerprint and a `dataset.json` into [`Plans`] by the rules of nnU-Net's `ExperimentPlanner`;
//! [`Plans::read`] takes a plans file of ours or of nnU-Net itself. One [`Configuration`] (`2d`, `3d_fullres`, or one that
//! the user added) is what preprocessing, network and training go by.

mod configuration;
mod error;
mod estimate;
mod patch;
mod planner;
mod statistics;
mod topology;

use std::path::Path;

use imaging::normalise::IntensityProperties;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use configuration::{ArchKwargs, Architecture, Configuration, Resampling};
pub use error::Error;
pub use patch::check_patch;
pub use planner::plan_default;

use crate::dataset::{hint, write_json};

/// Key that marks the plans files that this program wrote, with its version.
const WRITTEN_BY: &str = "written_by";

/// A plans file. Keys and their order are nnU-Net's; keys that it does not know are kept at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plans {
    /// Name of the data set, such as `Dataset004_Hippocampus`.
    pub dataset_name: String,
    /// Name of these plans, and of their file.
    pub plans_name: String,
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
    pub configurations: IndexMap<String, Map<String, Value>>,
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
        let text = std::fs::read(path).map_err(|source| Error::Read { path: path.to_path_buf(), source })?;
        let plans: Self = serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.to_path_buf(), source })?;
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

    /// Writes a plans file. Configurations that an existing file has and these plans do not are kept.
    ///
    /// # Errors
    /// When the file exists, was not written by this program, and `overwrite` is not set; when it cannot be written.
    pub fn write(&self, path: &Path, overwrite: bool) -> Result<(), Error> {
        let mut plans = self.clone();
        if path.exists() {
            let existing = Self::read(path)?;
            if !overwrite && !existing.is_ours() {
                return Err(Error::NotOurs { path: path.to_path_buf() });
            }
            for (name, configuration) in existing.configurations {
                plans.configurations.entry(name).or_insert(configuration);
            }
        }
        plans.extra.insert(WRITTEN_BY.to_owned(), concat!("host ", env!("CARGO_PKG_VERSION")).into());
        imaging::io::write_atomically(path, |out| write_json(out, &plans))?;
        Ok(())
    }

    /// The configuration `name`, with what it inherits (`inherits_from`) filled in; its own keys win.
    ///
    /// # Errors
    /// When there is no such configuration, inheritance is circular, a key is missing or broken, or the configuration asks
    /// for what this version does not have.
    pub fn configuration(&self, name: &str) -> Result<Configuration, Error> {
        let resolved = self.resolve(name, &mut Vec::new())?;
        let configuration: Configuration =
            serde_json::from_value(Value::Object(resolved)).map_err(|source| Error::Configuration { name: name.to_owned(), source })?;
        configuration.check(name)?;
        Ok(configuration)
    }

    fn resolve(&self, name: &str, visited: &mut Vec<String>) -> Result<Map<String, Value>, Error> {
        let Some(own) = self.configurations.get(name) else {
            let names = self.configurations.keys().map(String::as_str);
            return Err(Error::UnknownConfiguration { plans: self.plans_name.clone(), name: name.to_owned(), hint: hint(name, names) });
        };
        visited.push(name.to_owned());
        let Some(parent) = own.get("inherits_from").and_then(Value::as_str) else { return Ok(own.clone()) };
        if visited.iter().any(|seen| seen == parent) {
            visited.push(parent.to_owned());
            return Err(Error::Circular { plans: self.plans_name.clone(), chain: visited.join(" → ") });
        }
        let mut merged = self.resolve(parent, visited)?;
        merged.extend(own.clone());
        Ok(merged)
    }

    fn is_ours(&self) -> bool {
        self.extra.get(WRITTEN_BY).and_then(Value::as_str).is_some_and(|writer| writer.starts_with("host "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn golden() -> Plans {
        serde_json::from_str(include_str!("../../../tests/golden/hippocampus_plans.json")).expect("golden file")
    }

    #[test]
    fn a_plans_file_of_nnunet_survives_reading_and_writing() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("nnUNetPlans.json");
        let text = include_str!("../../../tests/golden/hippocampus_plans.json");
        std::fs::write(&path, text).expect("written");
        let plans = Plans::read(&path).expect("readable");
        assert!(matches!(plans.write(&path, false), Err(Error::NotOurs { .. })));
        plans.write(&path, true).expect("overwritten");
        let mut written: Value = serde_json::from_slice(&std::fs::read(&path).expect("there")).expect("JSON");
        written.as_object_mut().expect("object").shift_remove(WRITTEN_BY).expect("marked as ours");
        // As text, so that the order of keys counts as well.
        let original: Value = serde_json::from_str(text).expect("JSON");
        assert_eq!(written.to_string(), original.to_string());
    }

    #[test]
    fn custom_configurations_and_unknown_keys_are_kept() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("plans.json");
        let mut plans = golden();
        let fresh = plans.clone();
        let custom = json!({"inherits_from": "3d_fullres", "batch_size": 4, "mine": true});
        plans.configurations.insert("3d_bs4".to_owned(), custom.as_object().expect("object").clone());
        plans.write(&path, false).expect("new file");
        fresh.write(&path, false).expect("our own file");
        let read = Plans::read(&path).expect("readable");
        let configuration = read.configuration("3d_bs4").expect("kept");
        assert_eq!(configuration.batch_size, 4);
        assert_eq!(configuration.patch_size, [40, 56, 40]);
        assert_eq!(configuration.extra["mine"], json!(true));
    }

    #[test]
    fn broken_configurations_are_refused() {
        let mut plans = golden();
        let mut add = |name: &str, value: Value| {
            plans.configurations.insert(name.to_owned(), value.as_object().expect("object").clone());
        };
        add("a", json!({"inherits_from": "b"}));
        add("b", json!({"inherits_from": "a"}));
        add("empty", json!({}));
        add("cascade", json!({"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}));
        add("torch", json!({"inherits_from": "3d_fullres", "resampling_fn_data": "resample_torch_fornnunet"}));
        add("order", json!({"inherits_from": "3d_fullres", "patch_size": [40, 56]}));
        add("odd", json!({"inherits_from": "3d_fullres", "patch_size": [40, 56, 44]}));
        for (name, part) in [
            ("3d_fulres", "did you mean \"3d_fullres\"?"),
            ("a", "a → b → a"),
            ("empty", "missing field"),
            ("cascade", "previous_stage"),
            ("torch", "resample_torch_fornnunet"),
            ("order", "patch_size"),
            ("odd", "nearest: 40×56×40, 40×56×48"),
        ] {
            let message = plans.configuration(name).expect_err("must be refused").to_string();
            assert!(message.contains(part), "{name}: {message}");
        }
    }
}
