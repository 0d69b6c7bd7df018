//! Networks of nnU-Net, rebuilt from a golden file with the `base` plugin's heads.

use crate::artifact;
use crate::golden::Golden;
use data::plan::Architecture;
use host::model::{Error, Model};
use host::network::{Precision, task, trunk};
use host::plugin;
use plugin_api::task::Target;
use plugin_api::{IndexMap, Kind, Task};
use serde::Deserialize;
use serde_json::Value;
use tch::Device;

/// What a golden file says of its network.
#[derive(Debug, Deserialize)]
pub struct Network {
    /// Channels of the image.
    pub input_channels: usize,
    /// Classes with background.
    pub num_classes: i64,
    /// `([z,] y, x)`.
    pub patch_size: Vec<usize>,
    /// As in the plans.
    pub architecture: Architecture,
    /// Names of parameters and running statistics in nnU-Net's checkpoint.
    pub parameters: Vec<String>,
}

impl Network {
    /// Trunk and heads of `base` as we initialise them with `seed`.
    pub fn fresh_model(&self, seed: u64) -> Model {
        let targets = IndexMap::from([("segmentation".to_owned(), Target::new(Kind::Labels, self.num_classes))]);
        self.seeded_model_of("base", &serde_json::json!({}), targets, seed).expect("the model is built")
    }

    /// The trunk and the heads that `plugin` makes of `options`, for a data set with `targets`.
    pub fn model_of(&self, plugin: &str, options: &Value, targets: IndexMap<String, Target>) -> Result<Model, Error> {
        self.seeded_model_of(plugin, options, targets, 0)
    }

    fn seeded_model_of(&self, plugin: &str, options: &Value, targets: IndexMap<String, Target>, seed: u64) -> Result<Model, Error> {
        let spacing = vec![1.0; self.patch_size.len()];
        let trunk = trunk(&self.architecture)?;
        let task = Task { batch_size: 2, batch_dice: true, seed, ..task(&*trunk, &self.patch_size, &spacing, targets) };
        let library = plugin::load(&artifact::plugin(plugin), &artifact::this_host()).expect("it loads");
        Model::new(&*trunk, self.input_channels, &library, &task, options, Device::Cpu, Precision::Fp32)
    }

    /// The same with nnU-Net's weights from `golden`, which have to be all that there are.
    pub fn model(&self, golden: &Golden) -> Model {
        let model = self.fresh_model(0);
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
