//! Networks of nnU-Net, rebuilt from a golden file with the `base` plugin's heads.

use crate::artifact;
use crate::golden::Golden;
use host::network::{Model, Precision};
use host::plan::Architecture;
use host::plugin::Library;
use plugin_api::task::Target;
use plugin_api::{IndexMap, Kind, Task};
use serde::Deserialize;
use tch::Device;

/// What a golden file says of its network.
#[derive(Debug, Deserialize)]
pub struct Network {
    /// Channels of the image.
    pub input_channels: usize,
    /// Classes with background.
    pub num_classes: i64,
    /// `([z,] y, x)`.
    pub patch_size: Vec<i64>,
    /// As in the plans.
    pub architecture: Architecture,
    /// Names of parameters and running statistics in nnU-Net's checkpoint.
    pub parameters: Vec<String>,
}

impl Network {
    /// Trunk and heads as we initialise them.
    pub fn fresh_model(&self) -> Model {
        let kwargs = &self.architecture.arch_kwargs;
        let signed = |sizes: &[usize]| sizes.iter().map(|size| *size as i64).collect::<Vec<_>>();
        let target = Target::new(Kind::Labels, self.num_classes);
        let task = Task {
            dims: self.patch_size.len(),
            patch_size: self.patch_size.clone(),
            spacing: vec![1.0; self.patch_size.len()],
            features: signed(&kwargs.features_per_stage),
            strides: kwargs.strides.iter().map(|stride| signed(stride)).collect(),
            targets: IndexMap::from([("segmentation".to_owned(), target)]),
            batch_size: 2,
            batch_dice: true,
            epochs: 1,
            iterations: 1,
            device: "cpu".to_owned(),
            seed: 0,
        };
        let library = Library::load(&artifact::plugin("base")).expect("base loads");
        let options = serde_json::json!({});
        Model::new(&self.architecture, self.input_channels, &library, &task, &options, Device::Cpu, Precision::Fp32)
            .expect("the model is built")
    }

    /// The same with nnU-Net's weights from `golden`, which have to be all that there are.
    pub fn model(&self, golden: &Golden) -> Model {
        let model = self.fresh_model();
        let ours: Vec<&str> = model.parameters.iter().map(|(name, _)| name).collect();
        assert_eq!(ours.len(), self.parameters.len(), "nnU-Net has other parameters: {ours:?}");
        for name in &self.parameters {
            let parameter = model.parameters.get(&our_name(name)).unwrap_or_else(|| panic!("no parameter for {name}"));
            let stored = golden.tensor(name);
            assert_eq!(parameter.tensor.size(), stored.size(), "{name}");
            tch::no_grad(|| parameter.tensor.shallow_clone().copy_(&stored));
        }
        model
    }
}

/// Name of a parameter in nnU-Net's checkpoint → ours.
fn our_name(name: &str) -> String {
    match name.strip_prefix("decoder.seg_layers.") {
        Some(layer) => format!("plugin.segmentation.seg_layers.{layer}"),
        None => name.to_owned(),
    }
}
