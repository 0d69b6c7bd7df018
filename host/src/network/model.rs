//! Trunk and trainer joined: image in, named outputs back.

use super::{Error, Parameters, PlainConvUNet};
use crate::plan::Architecture;
use crate::plugin::{Library, LoadedTrainer};
use crate::shim::Autocast;
use plugin_api::{Outputs, Pass, Task};
use tch::{Device, Tensor};

/// A whole network: the plan's trunk, the plugin's heads, and the parameters of both.
#[derive(Debug)]
pub struct Model {
    trunk: PlainConvUNet,
    /// Heads and loss.
    pub trainer: LoadedTrainer,
    /// Everything that is trained or saved.
    pub parameters: Parameters,
    /// Trunk and heads run under bf16 autocast.
    pub bf16: bool,
}

impl Model {
    /// Builds the trunk of `architecture` and lets the plugin add its heads. Initial values depend on `task.seed`.
    pub fn new(
        architecture: &Architecture,
        input_channels: usize,
        library: &Library,
        task: &Task,
        options: &serde_json::Value,
        device: Device,
        bf16: bool,
    ) -> Result<Self, Error> {
        let mut parameters = Parameters::new(device, task.seed);
        let trunk = PlainConvUNet::new(architecture, input_channels, &mut parameters)?;
        let trainer = LoadedTrainer::create(library, task, options, &mut parameters)?;
        Ok(Self { trunk, trainer, parameters, bf16 })
    }

    /// Outputs of `image` `(B, C, [Z,] Y, X)` in f32, `levels` levels each. `seed` seeds what the heads draw.
    pub fn forward(&self, image: &Tensor, levels: usize, training: bool, seed: u64) -> Result<Outputs, Error> {
        // One autocast region a forward pass: its cache of cast weights must not outlive an optimiser step.
        let _autocast = self.bf16.then(|| Autocast::enter(self.parameters.device())).transpose()?;
        let features = self.trunk.forward(image)?;
        Ok(self.trainer.forward(&features, &Pass { training, levels, amp: self.bf16 }, seed)?)
    }
}
