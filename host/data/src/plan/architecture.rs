//! The section `architecture` of a configuration: nnU-Net's network class and its arguments.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

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
    /// Convolutions of every encoder stage; empty for a residual encoder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub n_conv_per_stage: Vec<usize>,
    /// Residual blocks of every encoder stage; empty for a plain encoder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub n_blocks_per_stage: Vec<usize>,
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

/// Far beyond any network that was ever trained, and small enough that nothing computed from them overflows: plans may be a stranger's.
const MOST_STAGES: usize = 32;
const MOST_FEATURES: usize = 1 << 15;
const LARGEST_KERNEL: usize = 127;
const MOST_CONVOLUTIONS: usize = 256;

impl Architecture {
    /// A network of nnU-Net's planners; `kwargs` come from [`ArchKwargs::without_stages`].
    pub(super) fn new(network_class_name: String, arch_kwargs: ArchKwargs) -> Self {
        let kw_requires_import = ["conv_op", "norm_op", "dropout_op", "nonlin"].map(str::to_owned).to_vec();
        Self { network_class_name, arch_kwargs, kw_requires_import }
    }
}

impl ArchKwargs {
    /// What all networks of nnU-Net's planners share: convolutions with bias, instance norm, leaky ReLU. The stages are to be filled in.
    pub(super) fn without_stages(dims: usize) -> Self {
        let kwargs = |value: Value| value.as_object().cloned();
        Self {
            n_stages: 0,
            features_per_stage: Vec::new(),
            conv_op: format!("torch.nn.modules.conv.Conv{dims}d"),
            kernel_sizes: Vec::new(),
            strides: Vec::new(),
            n_conv_per_stage: Vec::new(),
            n_blocks_per_stage: Vec::new(),
            n_conv_per_stage_decoder: Vec::new(),
            conv_bias: true,
            norm_op: Some(format!("torch.nn.modules.instancenorm.InstanceNorm{dims}d")),
            norm_op_kwargs: kwargs(json!({"eps": 1e-5, "affine": true})),
            dropout_op: None,
            dropout_op_kwargs: None,
            nonlin: Some("torch.nn.LeakyReLU".to_owned()),
            nonlin_kwargs: kwargs(json!({"inplace": true})),
            extra: Map::new(),
        }
    }

    /// Product of the strides along each axis: what a patch has to be divisible by.
    pub fn total_stride(&self) -> Vec<usize> {
        let axes = self.strides.first().map_or(0, Vec::len);
        (0..axes).map(|axis| self.strides.iter().fold(1, |product: usize, stride| product.saturating_mul(stride[axis]))).collect()
    }

    /// Whether the stages fit together for patches of `dims` axes; if not, which key has what, and what was expected.
    pub(super) fn check(&self, dims: usize) -> Result<(), (&'static str, String, &'static str)> {
        let per_axis = |rows: &[Vec<usize>]| rows.len() == self.n_stages && rows.iter().all(|row| row.len() == dims && !row.contains(&0));
        let positive = |values: &[usize], count: usize| values.len() == count && !values.contains(&0);
        let expected = "n_stages lists with a positive number for every axis of patch_size";
        if !(2..=MOST_STAGES).contains(&self.n_stages) {
            return Err(("n_stages", self.n_stages.to_string(), "2 to 32"));
        }
        if !per_axis(&self.strides) {
            return Err(("strides", format!("{:?}", self.strides), expected));
        }
        if !per_axis(&self.kernel_sizes) {
            return Err(("kernel_sizes", format!("{:?}", self.kernel_sizes), expected));
        }
        if self.kernel_sizes.iter().flatten().any(|size| *size > LARGEST_KERNEL) {
            return Err(("kernel_sizes", format!("{:?}", self.kernel_sizes), "sizes of at most 127"));
        }
        for (key, found, most, expected) in [
            ("features_per_stage", &self.features_per_stage, MOST_FEATURES, "numbers of at most 32768"),
            ("n_conv_per_stage", &self.n_conv_per_stage, MOST_CONVOLUTIONS, "numbers of at most 256"),
            ("n_blocks_per_stage", &self.n_blocks_per_stage, MOST_CONVOLUTIONS, "numbers of at most 256"),
            ("n_conv_per_stage_decoder", &self.n_conv_per_stage_decoder, MOST_CONVOLUTIONS, "numbers of at most 256"),
        ] {
            if found.iter().any(|number| *number > most) {
                return Err((key, format!("{found:?}"), expected));
            }
        }
        for (key, found) in [
            ("features_per_stage", &self.features_per_stage),
            ("n_conv_per_stage", &self.n_conv_per_stage),
            ("n_blocks_per_stage", &self.n_blocks_per_stage),
        ] {
            // An encoder has either convolutions or blocks.
            let absent = found.is_empty() && key != "features_per_stage";
            if !absent && !positive(found, self.n_stages) {
                return Err((key, format!("{found:?}"), "n_stages positive numbers"));
            }
        }
        if !positive(&self.n_conv_per_stage_decoder, self.n_stages - 1) {
            let found = format!("{:?}", self.n_conv_per_stage_decoder);
            return Err(("n_conv_per_stage_decoder", found, "n_stages - 1 positive numbers"));
        }
        Ok(())
    }
}
