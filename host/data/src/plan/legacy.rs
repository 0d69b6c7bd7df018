//! Configurations of nnU-Net 2.0 to 2.2, which have no section `architecture`: the same conversion as nnU-Net's own
//! (`plans_handler.py`, `ConfigurationManager.__init__`).

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Error;
use super::unet::{PlannedUnet, Stages, features};

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
    let Some(unet) = PlannedUnet::of_legacy(&old.class_name) else {
        return Err(Error::Value {
            name: name.to_owned(),
            key: "UNet_class_name".to_owned(),
            found: format!("{:?}", old.class_name),
            expected: PlannedUnet::classes(),
        });
    };
    let stages = Stages {
        features: features(old.base_features, old.encoder.len(), old.max_features),
        kernel_sizes: old.kernel_sizes,
        strides: old.strides,
        blocks: old.encoder,
        decoder_convs: old.decoder,
    };
    let architecture = unet.legacy_architecture(old.patch_size.len(), stages);
    configuration.retain(|key, _| !KEYS.contains(&key.as_str()));
    configuration.insert("architecture".to_owned(), serde_json::to_value(architecture).map_err(wrong)?);
    Ok(())
}
