//! A whole network: the plan's trunk and a plugin's trainer joined. Image in, named outputs back.
//!
//! [`keeps`] compares methods of the trainer with the defaults that they are said to be, `probe` the trainer with the one that trained, both on
//! made-up `maps`.

mod error;
pub mod keeps;
mod maps;
mod native;
mod probe;

use crate::network::{Layers, Parameters, Precision, Trunk};
use crate::plugin::{LoadedTrainer, LoadedTransform, Plugin};
use crate::shim::{Autocast, Seeded, mix};
use plugin_api::{Features, Outputs, Pass, Task};
use serde_json::Value;
use std::sync::Arc;
use tch::{Device, Tensor};

pub use error::Error;
pub use native::{Native, native_threads};
pub use probe::{Form as ProbeForm, Probe};

use keeps::Trained;

/// Keeps the trunk's draws apart from the heads'.
const TRUNK: u64 = 5;

/// A whole network: the plan's trunk, the plugin's heads, and the parameters of both.
#[derive(Debug)]
pub struct Model {
    trunk: Box<dyn Layers>,
    /// Heads and loss.
    pub trainer: LoadedTrainer,
    /// Everything that is trained or saved.
    pub parameters: Parameters,
    /// Arithmetic of trunk and heads.
    pub precision: Precision,
    /// What the trainer was told: the host's task, and the targets that the plugin makes.
    pub task: Task,
    /// What makes these, if the plugin makes any.
    pub transform: Option<Arc<LoadedTransform>>,
    options: Value,
}

impl Model {
    /// Builds `trunk` and lets the plugin add its targets to `task`, which says whose network it is, and its heads. `device` is
    /// where it computes now, wherever it was trained. Initial values depend on `task.seed`.
    pub fn new(
        trunk: &dyn Trunk,
        input_channels: usize,
        plugin: &Plugin,
        task: &Task,
        options: &Value,
        device: Device,
        precision: Precision,
    ) -> Result<Self, Error> {
        Self::with_parameters(trunk, input_channels, plugin, task, options, precision, Parameters::new(device, task.seed))
    }

    /// The same, with `parameters` that have none yet.
    pub fn with_parameters(
        trunk: &dyn Trunk,
        input_channels: usize,
        plugin: &Plugin,
        task: &Task,
        options: &Value,
        precision: Precision,
        mut parameters: Parameters,
    ) -> Result<Self, Error> {
        let mut task = Task { device: crate::device::name(parameters.device()), ..task.clone() };
        let transform = LoadedTransform::create(plugin, &mut task, options)?.map(Arc::new);
        let trunk = trunk.build(input_channels, &mut parameters)?;
        let trainer = LoadedTrainer::create(plugin, &task, options, &mut parameters)?;
        Ok(Self { trunk, trainer, parameters, precision, task, transform, options: options.clone() })
    }

    /// Compares what the plugin says that it keeps with what the trainer does with the weights that it has now.
    ///
    /// # Errors
    /// When that is not the same.
    pub fn check_keeps(&self) -> Result<(), Error> {
        keeps::check_claims(self.trained())
    }

    /// How a method of the trainer, with the weights that it has now, [differs](keeps::difference) from the default.
    pub fn difference(&self, method: &'static str) -> Result<Option<String>, Error> {
        keeps::difference(self.trained(), method)
    }

    /// Sizes of the maps of all stages that a trainer like this one can be [probed](Probe) with; `None` where it accepts no small ones.
    pub fn probed_maps(&self) -> Result<Option<Vec<Vec<i64>>>, Error> {
        probe::accepted(self.trained())
    }

    /// What the trainer makes of made-up maps of these sizes.
    pub fn probe(&self, sizes: &[Vec<i64>]) -> Result<Probe, Error> {
        Probe::of(&self.trainer, &self.task, sizes)
    }

    /// What a new trainer with the weights of this one makes of them on `device`.
    pub fn probe_anew(&self, sizes: &[Vec<i64>], device: Device) -> Result<Probe, Error> {
        Probe::anew(self.trained(), sizes, device)
    }

    /// A second trainer with the weights of this one, and what holds them: for calls that the training must not notice.
    pub fn another_trainer(&self) -> Result<(LoadedTrainer, Parameters), Error> {
        self.trained().copy(self.parameters.device())
    }

    fn trained(&self) -> Trained<'_> {
        let Self { trainer, task, options, parameters, .. } = self;
        Trained { plugin: trainer.plugin(), task, options, parameters }
    }

    /// Outputs of `image` `(B, C, [Z,] Y, X)` in f32, `levels` levels each. `seed` seeds what trunk and heads draw.
    pub fn forward(&self, image: &Tensor, levels: usize, training: bool, seed: u64) -> Result<Outputs, Error> {
        Ok(self.forward_with_features(image, levels, training, seed)?.0)
    }

    /// The same, and the features that the heads worked on.
    pub fn forward_with_features(&self, image: &Tensor, levels: usize, training: bool, seed: u64) -> Result<(Outputs, Features), Error> {
        let device = self.parameters.device();
        let amp = self.precision != Precision::Fp32;
        // One autocast region a forward pass: its cache of cast weights must not outlive an optimiser step.
        let _autocast = amp.then(|| Autocast::enter(device, self.precision == Precision::Fp16)).transpose()?;
        let features = {
            let _seeded = (training && self.trunk.draws()).then(|| Seeded::new(device, mix(&[seed, TRUNK]))).transpose()?;
            self.trunk.forward(image, training)?
        };
        let outputs = self.trainer.forward(&features, &Pass { training, levels, amp }, seed)?;
        Ok((outputs, features))
    }
}
