//! Configurations of nnU-Net 2.0 to 2.2, which have no section `architecture`: the same conversion as nnU-Net's own
//! (`plans_handler.py`, `ConfigurationManager.__init__`).

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{ArchKwargs, Architecture, Error};

/// The keys that became `architecture`.
const KEYS: [&str; 8] = [
    "UNet_class_name",
    "UNet_base_num_features",
    "n_conv_per_stage_encoder",
    "n_conv_per_stage_decoder",
    "num_pool_per_axis",
    "pool_op_kernel_sizes",
    "conv_kernel_sizes",
    "unet_max_num_features",
];

/// What those keys say. One of them, `num_pool_per_axis`, follows from the strides.
#[derive(Deserialize)]
struct Network {
    #[serde(rename = "UNet_class_name")]
    class_name: String,
    #[serde(rename = "UNet_base_num_features")]
    base_features: usize,
    #[serde(rename = "unet_max_num_features")]
    max_features: usize,
    #[serde(rename = "n_conv_per_stage_encoder")]
    encoder: Vec<usize>,
    #[serde(rename = "n_conv_per_stage_decoder")]
    decoder: Vec<usize>,
    #[serde(rename = "pool_op_kernel_sizes")]
    strides: Vec<Vec<usize>>,
    #[serde(rename = "conv_kernel_sizes")]
    kernel_sizes: Vec<Vec<usize>>,
    patch_size: Vec<usize>,
}

/// Replaces the old keys of the configuration `name`, inheritance resolved, by `architecture`; newer ones stay as they are.
pub(super) fn upgrade(name: &str, configuration: &mut Map<String, Value>) -> Result<(), Error> {
    if configuration.contains_key("architecture") || !configuration.contains_key("UNet_class_name") {
        return Ok(());
    }
    let wrong = |source| Error::Configuration { name: name.to_owned(), source };
    let old: Network = serde_json::from_value(Value::Object(configuration.clone())).map_err(wrong)?;
    let (module, residual) = match old.class_name.as_str() {
        "PlainConvUNet" => ("unet", false),
        "ResidualEncoderUNet" => ("residual_unet", true),
        _ => {
            return Err(Error::Value {
                name: name.to_owned(),
                key: "UNet_class_name".to_owned(),
                found: format!("{:?}", old.class_name),
                expected: "PlainConvUNet or ResidualEncoderUNet".to_owned(),
            });
        }
    };
    let n_stages = old.encoder.len();
    let features =
        |stage: usize| u32::try_from(stage).map_or(usize::MAX, |stage| old.base_features.saturating_mul(2usize.saturating_pow(stage)));
    let (n_conv_per_stage, n_blocks_per_stage) = if residual { (Vec::new(), old.encoder) } else { (old.encoder, Vec::new()) };
    let kwargs = ArchKwargs {
        n_stages,
        features_per_stage: (0..n_stages).map(|stage| features(stage).min(old.max_features)).collect(),
        kernel_sizes: old.kernel_sizes,
        strides: old.strides,
        n_conv_per_stage,
        n_blocks_per_stage,
        n_conv_per_stage_decoder: old.decoder,
        ..ArchKwargs::without_stages(old.patch_size.len())
    };
    let class = format!("dynamic_network_architectures.architectures.{module}.{}", old.class_name);
    configuration.retain(|key, _| !KEYS.contains(&key.as_str()));
    configuration.insert("architecture".to_owned(), serde_json::to_value(Architecture::new(class, kwargs)).map_err(wrong)?);
    Ok(())
}
