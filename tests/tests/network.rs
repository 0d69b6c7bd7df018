//! Trunk and heads against nnU-Net's PlainConvUNet: same weights, same input, same output.

use host::network::Model;
use host::plan::Architecture;
use host::plugin::Library;
use plugin_api::task::Target;
use plugin_api::{IndexMap, Kind, Task};
use serde::Deserialize;
use tch::Device;
use tests::artifact;
use tests::golden::{Golden, distance, largest};

#[derive(Deserialize)]
struct Network {
    input_channels: usize,
    num_classes: i64,
    patch_size: Vec<i64>,
    architecture: Architecture,
    parameters: Vec<String>,
}

impl Network {
    fn model(&self) -> Model {
        let kwargs = &self.architecture.arch_kwargs;
        let signed = |sizes: &[usize]| sizes.iter().map(|size| *size as i64).collect::<Vec<_>>();
        let target = Target { kind: Kind::Labels, channels: self.num_classes, classes: Vec::new(), ignore: None, optional: false };
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
        Model::new(&self.architecture, self.input_channels, &library, &task, &options, Device::Cpu, false).expect("the model is built")
    }
}

/// Name of a parameter in nnU-Net's checkpoint → ours.
fn our_name(name: &str) -> String {
    match name.strip_prefix("decoder.seg_layers.") {
        Some(layer) => format!("plugin.segmentation.seg_layers.{layer}"),
        None => name.to_owned(),
    }
}

fn compare(file: &str) {
    let golden = Golden::read(file);
    let network: Network = golden.metadata("network");
    let model = network.model();

    let ours: Vec<&str> = model.parameters.iter().map(|(name, _)| name).collect();
    assert_eq!(ours.len(), network.parameters.len(), "nnU-Net has other parameters: {ours:?}");
    for name in &network.parameters {
        let parameter = model.parameters.get(&our_name(name)).unwrap_or_else(|| panic!("no parameter for {name}"));
        let stored = golden.tensor(name);
        assert_eq!(parameter.tensor.size(), stored.size(), "{name}");
        tch::no_grad(|| parameter.tensor.shallow_clone().copy_(&stored));
    }

    let expected = golden.levels("output");
    let outputs = model.forward(&golden.tensor("input"), expected.len(), false, 0).expect("the model runs");
    let levels = outputs.get("segmentation").expect("base has this output");
    assert_eq!(levels.len(), expected.len());
    for (i, (level, expected)) in levels.iter().zip(&expected).enumerate() {
        assert!(largest(expected) > 0.1, "level {i} of {file} says nothing");
        let off = distance(level, expected);
        assert!(off <= 1e-5, "level {i} of {file} is off by {off:e}");
    }
}

#[test]
fn the_2d_network_is_nnunets() {
    compare("network_2d");
}

#[test]
fn the_3d_network_is_nnunets() {
    compare("network_3d");
}
