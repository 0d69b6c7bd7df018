//! One configuration of a plans file.

use imaging::resample::Rule;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::patch::check_patch;
use super::patch::three_dimensional;
use super::resampling::{self, Refused, Resampling};
use super::{Architecture, Error};
use crate::name::Name;

/// Why what is made of a configuration cannot fail.
const CHECKED: &str = "checked when the configuration is read";
/// Patches a batch, far beyond any memory.
const MOST_PATCHES: usize = 1 << 16;

/// How data is prepared and which network is trained on it. Axes are transposed ones (see `Plans::transpose_forward`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Which preprocessed data it uses; configurations may share it.
    pub data_identifier: Name,
    /// nnU-Net's preprocessor class.
    pub preprocessor_name: String,
    /// Samples a step.
    pub batch_size: usize,
    /// Patch in voxels: (y, x) or (z, y, x).
    pub patch_size: Vec<usize>,
    /// Median shape of the data after resampling.
    pub median_image_size_in_voxels: Vec<f64>,
    /// Spacing in mm that all cases are resampled to; a 2D one leaves z as it is.
    pub spacing: Vec<f64>,
    /// nnU-Net's normalisation class for every channel.
    pub normalization_schemes: Vec<String>,
    /// Whether a channel is normalised by what is inside the nonzero mask only.
    pub use_mask_for_norm: Vec<bool>,
    /// nnU-Net's function that resamples images.
    pub resampling_fn_data: String,
    /// nnU-Net's function that resamples label maps.
    pub resampling_fn_seg: String,
    /// Its arguments for images.
    pub resampling_fn_data_kwargs: Resampling,
    /// Its arguments for label maps.
    pub resampling_fn_seg_kwargs: Resampling,
    /// nnU-Net's function that resamples predictions.
    pub resampling_fn_probabilities: String,
    /// Its arguments for predictions.
    pub resampling_fn_probabilities_kwargs: Resampling,
    /// The network.
    pub architecture: Architecture,
    /// Whether Dice is taken over the whole batch rather than for every sample.
    pub batch_dice: bool,
    /// Configurations that take its predictions as a further input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_stage: Option<NextStage>,
    /// Configuration whose predictions are a further input (cascade). Its own data are those of any other configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_stage: Option<String>,
    /// Further keys.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One or more names of configurations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NextStage {
    /// As nnU-Net's planners write it.
    One(String),
    /// As it may be written by hand.
    Many(Vec<String>),
}

impl Configuration {
    /// The configuration `name` from its JSON, inheritance resolved.
    ///
    /// # Errors
    /// When a key is missing or broken, or it asks for what this version does not have.
    pub fn from_json(name: &str, mut json: Value) -> Result<Self, Error> {
        resampling::fill_defaults(&mut json);
        let wrong = |source| Error::Configuration { name: name.to_owned(), source };
        let configuration: Self = serde_json::from_value(json).map_err(wrong)?;
        configuration.check(name)?;
        Ok(configuration)
    }

    /// 2 or 3.
    pub fn dims(&self) -> usize {
        self.patch_size.len()
    }

    /// Spacing in mm as (z, y, x); 2D configurations leave that of the slices, `slices`, as it is.
    pub fn spacing_zyx(&self, slices: f64) -> [f64; 3] {
        match self.spacing[..] {
            [y, x] => [slices, y, x],
            [z, y, x] => [z, y, x],
            _ => unreachable!("{CHECKED}"),
        }
    }

    /// Whether images are brought to [`spacing`](Self::spacing) at all.
    pub fn resamples(&self) -> bool {
        self.resampling_fn_data != resampling::NONE
    }

    /// How images are resampled.
    pub fn image_rule(&self) -> Rule {
        self.resampling_fn_data_kwargs.rule(&self.resampling_fn_data, false).unwrap_or_else(|_| unreachable!("{CHECKED}"))
    }

    /// How label maps are resampled.
    pub fn label_rule(&self) -> Rule {
        self.resampling_fn_seg_kwargs.rule(&self.resampling_fn_seg, true).unwrap_or_else(|_| unreachable!("{CHECKED}"))
    }

    /// How logits are resampled.
    pub fn logit_rule(&self) -> Rule {
        let rule = self.resampling_fn_probabilities_kwargs.rule(&self.resampling_fn_probabilities, false);
        rule.unwrap_or_else(|_| unreachable!("{CHECKED}"))
    }

    /// Patch as (z, y, x), with one slice for 2D.
    pub fn patch_zyx(&self) -> [usize; 3] {
        three_dimensional(&self.patch_size).unwrap_or_else(|| unreachable!("{CHECKED}"))
    }

    /// Whether the network can take patches of this size in place of the planned ones.
    ///
    /// # Errors
    /// Names what a size must be a multiple of, and the nearest sizes that fit.
    pub fn check_patch(&self, patch: &[usize]) -> Result<(), Error> {
        check_patch(patch, &self.architecture.total_stride(self.dims()))
    }

    /// Whether the values fit together and this version can do what they ask for.
    fn check(&self, name: &str) -> Result<(), Error> {
        let value = |key: &str, found: String, expected: &str| Error::Value {
            name: name.to_owned(),
            key: key.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        let dims = self.patch_size.len();
        if !(2..=3).contains(&dims) {
            return Err(value("patch_size", format!("{:?}", self.patch_size), "two or three numbers"));
        }
        if self.spacing.len() != dims || self.spacing.iter().any(|spacing| !(*spacing > 0.0 && spacing.is_finite())) {
            let expected = "a positive number of mm for every axis of patch_size";
            return Err(value("spacing", format!("{:?}", self.spacing), expected));
        }
        if !(1..=MOST_PATCHES).contains(&self.batch_size) {
            return Err(value("batch_size", self.batch_size.to_string(), "1 to 65536"));
        }
        let schemes = self.normalization_schemes.len();
        if schemes == 0 || self.use_mask_for_norm.len() != schemes {
            let found = format!("{} entries for {schemes} normalization_schemes", self.use_mask_for_norm.len());
            return Err(value("use_mask_for_norm", found, "one entry for every channel"));
        }
        let expected = "lists with a positive number for every axis of patch_size";
        self.architecture.check(dims).map_err(|found| value("strides", found, expected))?;
        self.check_available(name)?;
        self.check_patch(&self.patch_size)
    }

    fn check_available(&self, name: &str) -> Result<(), Error> {
        const PREPROCESSOR: &str = "DefaultPreprocessor";
        let refuse = |key: &str, found: String, available: &str| {
            Err(Error::NotThere { name: name.to_owned(), key: key.to_owned(), found, available: available.to_owned() })
        };
        if self.preprocessor_name != PREPROCESSOR {
            return refuse("preprocessor_name", self.preprocessor_name.clone(), PREPROCESSOR);
        }
        for (key, function, kwargs, is_seg) in [
            ("resampling_fn_data", &self.resampling_fn_data, &self.resampling_fn_data_kwargs, false),
            ("resampling_fn_seg", &self.resampling_fn_seg, &self.resampling_fn_seg_kwargs, true),
            ("resampling_fn_probabilities", &self.resampling_fn_probabilities, &self.resampling_fn_probabilities_kwargs, false),
        ] {
            match kwargs.rule(function, is_seg) {
                Ok(_) => {}
                Err(Refused::Function { available }) => return refuse(key, function.clone(), &available),
                Err(Refused::Arguments { found, available }) => return refuse(&format!("{key}_kwargs"), found, &available),
            }
            if (function == resampling::NONE) == self.resamples() {
                let expected = format!("{} for images, labels and probabilities, or for none of them", resampling::NONE);
                return Err(Error::Value { name: name.to_owned(), key: key.to_owned(), found: format!("{function:?}"), expected });
            }
        }
        Ok(())
    }
}
