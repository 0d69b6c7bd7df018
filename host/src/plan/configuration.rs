//! One configuration of a plans file.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Error, check_patch};

/// How data is prepared and which network is trained on it. Axes are transposed ones (see `Plans::transpose_forward`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Which preprocessed data it uses; configurations may share it.
    pub data_identifier: String,
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
    /// Configuration whose prediction is a further input (cascade).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_stage: Option<String>,
    /// Further keys.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Arguments of nnU-Net's `resample_data_or_seg_to_shape`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resampling {
    /// Whether labels are resampled.
    #[serde(default)]
    pub is_seg: bool,
    /// Spline order.
    #[serde(default = "cubic")]
    pub order: u8,
    /// Spline order along z where z is resampled on its own.
    #[serde(default)]
    pub order_z: u8,
    /// Whether z is resampled on its own; decided by the spacing when `None`.
    #[serde(default)]
    pub force_separate_z: Option<bool>,
    /// Further keys.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// nnU-Net's default order.
fn cubic() -> u8 {
    3
}

/// The network and its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Python path of nnU-Net's class.
    pub network_class_name: String,
    /// Its arguments.
    pub arch_kwargs: ArchKwargs,
    /// Arguments that nnU-Net has to import by name.
    #[serde(rename = "_kw_requires_import")]
    pub kw_requires_import: Vec<String>,
}

/// Arguments of the network's class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchKwargs {
    /// Resolutions of the encoder, the bottleneck included.
    pub n_stages: usize,
    /// Feature channels of every stage, finest first.
    pub features_per_stage: Vec<usize>,
    /// Python path of the convolution.
    pub conv_op: String,
    /// Convolution kernel of every stage.
    pub kernel_sizes: Vec<Vec<usize>>,
    /// Stride at the entrance of every stage; all 1 for the first.
    pub strides: Vec<Vec<usize>>,
    /// Convolutions of every encoder stage; a residual encoder has `n_blocks_per_stage` among the further keys instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub n_conv_per_stage: Vec<usize>,
    /// Convolutions of every decoder stage, coarsest first.
    pub n_conv_per_stage_decoder: Vec<usize>,
    /// Whether convolutions have a bias.
    pub conv_bias: bool,
    /// Python path of the normalisation.
    pub norm_op: Option<String>,
    /// Its arguments.
    pub norm_op_kwargs: Option<Map<String, Value>>,
    /// Python path of the dropout.
    pub dropout_op: Option<String>,
    /// Its arguments.
    pub dropout_op_kwargs: Option<Map<String, Value>>,
    /// Python path of the nonlinearity.
    pub nonlin: Option<String>,
    /// Its arguments.
    pub nonlin_kwargs: Option<Map<String, Value>>,
    /// Further keys.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ArchKwargs {
    /// Product of the strides along each axis: what a patch has to be divisible by.
    pub fn total_stride(&self) -> Vec<usize> {
        let axes = self.strides.first().map_or(0, Vec::len);
        (0..axes).map(|axis| self.strides.iter().map(|stride| stride[axis]).product()).collect()
    }
}

impl Configuration {
    /// 2 or 3.
    pub fn dims(&self) -> usize {
        self.patch_size.len()
    }

    /// Spacing in mm as (z, y, x); 2D configurations leave that of the slices, `slices`, as it is.
    pub fn spacing_zyx(&self, slices: f64) -> [f64; 3] {
        match self.spacing[..] {
            [y, x] => [slices, y, x],
            [z, y, x] => [z, y, x],
            _ => unreachable!("checked when the configuration is read"),
        }
    }

    /// Patch as (z, y, x), with one slice for 2D.
    pub fn patch_zyx(&self) -> [usize; 3] {
        match self.patch_size[..] {
            [y, x] => [1, y, x],
            [z, y, x] => [z, y, x],
            _ => unreachable!("checked when the configuration is read"),
        }
    }

    /// Whether the values fit together and this version can do what they ask for.
    pub(super) fn check(&self, name: &str) -> Result<(), Error> {
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
        if self.batch_size == 0 {
            return Err(value("batch_size", "0".to_owned(), "at least 1"));
        }
        let schemes = self.normalization_schemes.len();
        if schemes == 0 || self.use_mask_for_norm.len() != schemes {
            let found = format!("{} entries for {schemes} normalization_schemes", self.use_mask_for_norm.len());
            return Err(value("use_mask_for_norm", found, "one entry for every channel"));
        }
        self.check_architecture(&value)?;
        self.check_available(name)?;
        check_patch(&self.patch_size, &self.architecture.arch_kwargs)
    }

    fn check_architecture(&self, value: &dyn Fn(&str, String, &str) -> Error) -> Result<(), Error> {
        let kwargs = &self.architecture.arch_kwargs;
        let dims = self.patch_size.len();
        let per_axis = |rows: &[Vec<usize>]| rows.len() == kwargs.n_stages && rows.iter().all(|row| row.len() == dims && !row.contains(&0));
        let expected = "n_stages lists with a positive number for every axis of patch_size";
        if kwargs.n_stages < 2 {
            return Err(value("n_stages", kwargs.n_stages.to_string(), "at least 2"));
        }
        if !per_axis(&kwargs.strides) {
            return Err(value("strides", format!("{:?}", kwargs.strides), expected));
        }
        if !per_axis(&kwargs.kernel_sizes) {
            return Err(value("kernel_sizes", format!("{:?}", kwargs.kernel_sizes), expected));
        }
        if kwargs.features_per_stage.len() != kwargs.n_stages || kwargs.features_per_stage.contains(&0) {
            let found = format!("{:?}", kwargs.features_per_stage);
            return Err(value("features_per_stage", found, "n_stages positive numbers"));
        }
        if kwargs.n_conv_per_stage_decoder.len() != kwargs.n_stages - 1 {
            let found = format!("{:?}", kwargs.n_conv_per_stage_decoder);
            return Err(value("n_conv_per_stage_decoder", found, "n_stages - 1 numbers"));
        }
        let conv = &kwargs.n_conv_per_stage;
        if !conv.is_empty() && conv.len() != kwargs.n_stages {
            return Err(value("n_conv_per_stage", format!("{conv:?}"), "n_stages numbers"));
        }
        Ok(())
    }

    fn check_available(&self, name: &str) -> Result<(), Error> {
        const RESAMPLE: &str = "resample_data_or_seg_to_shape";
        const PREPROCESSOR: &str = "DefaultPreprocessor";
        let refuse = |key: &str, found: String, available: &str| {
            Err(Error::NotThere { name: name.to_owned(), key: key.to_owned(), found, available: available.to_owned() })
        };
        if let Some(stage) = &self.previous_stage {
            return refuse("previous_stage", stage.clone(), "configurations that are no cascade");
        }
        if self.preprocessor_name != PREPROCESSOR {
            return refuse("preprocessor_name", self.preprocessor_name.clone(), PREPROCESSOR);
        }
        for (key, function, kwargs, orders) in [
            ("resampling_fn_data", &self.resampling_fn_data, &self.resampling_fn_data_kwargs, &[1, 3][..]),
            ("resampling_fn_seg", &self.resampling_fn_seg, &self.resampling_fn_seg_kwargs, &[1]),
            ("resampling_fn_probabilities", &self.resampling_fn_probabilities, &self.resampling_fn_probabilities_kwargs, &[1]),
        ] {
            if function != RESAMPLE {
                return refuse(key, function.clone(), RESAMPLE);
            }
            if !orders.contains(&kwargs.order) || kwargs.order_z != 0 || kwargs.force_separate_z.is_some() {
                let found = serde_json::to_string(kwargs).unwrap_or_default();
                let available = format!("order {orders:?} with order_z 0 and force_separate_z null");
                return refuse(&format!("{key}_kwargs"), found, &available);
            }
        }
        Ok(())
    }
}
