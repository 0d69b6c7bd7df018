//! A checkpoint of either program: what was trained, and its weights under our names.

use super::{Error, Origin, Saved, Weights, nnunet, read_weights};
use crate::model::{self, Model, Probe};
use crate::network::{self, Parameters, Precision, Trunk};
use crate::plugin::Plugin;
use data::hash::{sha256, sha256_of_file};
use data::plan::Plans;
use plugin_api::Task;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tch::{Device, Tensor};

/// A network's weights and what they belong to.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// What was trained.
    pub origin: Origin,
    /// By the names of [`Parameters`].
    pub weights: Weights,
    /// What its trainer made of made-up maps with them. Not in nnU-Net's checkpoints, nor in ours from before 2026-12.
    pub probe: Option<Probe>,
}

impl Checkpoint {
    /// Reads `checkpoint_*.safetensors`, ours, or `checkpoint_*.pth`, nnU-Net's, whose configuration is one of `plans`.
    pub fn read(path: &Path, plans: &Plans) -> Result<Self, Error> {
        Self::read_and_look(path, plans, |_| ())
    }

    /// The same with the file's SHA-256, for which a checkpoint of ours is not read once more.
    pub fn read_hashed(path: &Path, plans: &Plans) -> Result<(Self, String), Error> {
        let mut hash = None;
        let checkpoint = Self::read_and_look(path, plans, |bytes| hash = Some(sha256(bytes)))?;
        let of_file = || sha256_of_file(path).map_err(|error| Error::Broken { path: path.to_owned(), reason: error.to_string() });
        Ok((checkpoint, hash.map_or_else(of_file, Ok)?))
    }

    /// `look` sees the bytes of a checkpoint of ours.
    fn read_and_look(path: &Path, plans: &Plans, look: impl FnOnce(&[u8])) -> Result<Self, Error> {
        let Saved { origin, weights, probe } = if path.extension().is_some_and(|ending| ending == "pth") {
            let (origin, weights) = nnunet::read(path, plans)?;
            Saved { origin, weights, probe: None }
        } else {
            read_weights(path, look)?
        };
        Ok(Self { path: path.to_owned(), origin, weights, probe })
    }

    /// Says so if `model`, which has these weights, makes something else of made-up maps than what was trained: by another build of its
    /// plugin, or a plugin that does not keep in its weights what decides predictions.
    pub fn warn_of_other_predictions(&self, model: &Model) {
        let Some(trained) = &self.probe else { return };
        let difference = match model.probe_anew(&trained.form.sizes, Device::Cpu) {
            Ok(now) => trained.difference(&now),
            Err(error) => Some(format!("{error}")),
        };
        let Some(difference) = difference else { return };
        let plugin = model.trainer.plugin();
        let (path, now) = (self.path.display(), &plugin.identity().manifest);
        let by = self.origin.library.as_ref().map_or_else(String::new, |trained| format!(" of sha256 {}", trained.sha256));
        log::warn!(
            "{path}: plugin {} {} of sha256 {} does not predict what was trained by {} {}{by}: {difference}. Name the build that trained it with --plugin",
            now.id,
            now.version,
            plugin.identity().sha256,
            self.origin.plugin,
            self.origin.plugin_version
        );
    }

    /// Builds the network that these are the weights of, with these weights.
    ///
    /// # Errors
    /// When plans or plugin ask for another network. No memory is taken for one that is larger than the weights.
    pub fn build(
        &self,
        trunk: &dyn Trunk,
        channels: usize,
        plugin: &Plugin,
        task: &Task,
        options: &Value,
        (device, precision): (Device, Precision),
    ) -> Result<Model, Error> {
        let stored = self.weights.iter().map(|(name, weight)| (name.clone(), weight.size())).collect();
        let parameters = Parameters::of_stored(device, task.seed, stored);
        let built = Model::with_parameters(trunk, channels, plugin, task, options, precision, parameters);
        let model = built.map_err(|error| match error {
            model::Error::Network(stored @ network::Error::Stored { .. }) => {
                Error::Broken { path: self.path.clone(), reason: stored.to_string() }
            }
            other => other.into(),
        })?;
        self.copy_to(&model.parameters)?;
        Ok(model)
    }

    /// Copies all weights to `parameters`.
    ///
    /// # Errors
    /// When one is missing, has another shape, or is there without a parameter that takes it: then it is another network.
    fn copy_to(&self, parameters: &Parameters) -> Result<(), Error> {
        let broken = |reason: String| Error::Broken { path: self.path.clone(), reason };
        let _no_grad = tch::no_grad_guard();
        for (name, parameter) in parameters.iter() {
            let (stored, expected) = (self.weights.get(name), parameter.tensor.size());
            let Some(stored) = stored.filter(|stored| stored.size() == expected) else {
                let other = network::Error::Stored { name: name.to_owned(), found: stored.map(Tensor::size), expected };
                return Err(broken(other.to_string()));
            };
            parameter.tensor.shallow_clone().f_copy_(stored).map_err(model::Error::from)?;
        }
        match self.weights.keys().find(|name| parameters.get(name).is_none()) {
            Some(unknown) => Err(broken(format!("has {unknown}, which the network of its plans and its plugin has not"))),
            None => Ok(()),
        }
    }
}
