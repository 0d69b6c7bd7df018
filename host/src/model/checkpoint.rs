//! A checkpoint of either program: what was trained, and its weights under our names.

use super::{Error, nnunet};
use crate::network::Parameters;
use crate::plan::Plans;
use crate::train::{Origin, Weights, read_weights};
use std::path::{Path, PathBuf};

/// A network's weights and what they belong to.
#[derive(Debug)]
pub struct Checkpoint {
    /// The file.
    pub path: PathBuf,
    /// What was trained.
    pub origin: Origin,
    /// By the names of [`Parameters`].
    pub weights: Weights,
}

impl Checkpoint {
    /// Reads `checkpoint_*.safetensors`, ours, or `checkpoint_*.pth`, nnU-Net's, whose configuration is one of `plans`.
    pub fn read(path: &Path, plans: &Plans) -> Result<Self, Error> {
        let is_pth = path.extension().is_some_and(|ending| ending == "pth");
        let (origin, weights) = if is_pth { nnunet::read(path, plans)? } else { read_weights(path)? };
        Ok(Self { path: path.to_owned(), origin, weights })
    }

    /// Copies all weights to `parameters`.
    ///
    /// # Errors
    /// When one is missing, has another shape, or is there without a parameter that takes it: then it is another network.
    pub fn copy_to(&self, parameters: &Parameters) -> Result<(), Error> {
        let broken = |reason: String| Error::Broken { path: self.path.clone(), reason };
        let _no_grad = tch::no_grad_guard();
        for (name, parameter) in parameters.iter() {
            let stored = self.weights.get(name);
            let stored = stored.ok_or_else(|| broken(format!("has no {name}; its plans and its plugin ask for another network")))?;
            let (found, expected) = (stored.size(), parameter.tensor.size());
            if found != expected {
                return Err(broken(format!("{name} has the shape {found:?}; its plans and its plugin ask for {expected:?}")));
            }
            parameter.tensor.shallow_clone().f_copy_(stored).map_err(crate::network::Error::from)?;
        }
        match self.weights.keys().find(|name| parameters.get(name).is_none()) {
            Some(unknown) => Err(broken(format!("has {unknown}, which the network of its plans and its plugin has not"))),
            None => Ok(()),
        }
    }
}
