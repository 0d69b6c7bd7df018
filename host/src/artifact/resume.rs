//! A checkpoint that a training goes on with as if it had never stopped: weights, what optimiser and average remember of them, the plugin's
//! state, and where the training stands. Whose it is, its [`Identity`], is compared first.

use super::CheckpointError as Error;
use super::format::{PLUGIN_STATE, copy, header_text, open, write};
use super::header::{self, TrainingHeader};
use super::identity::{Identity, Streams, tell};
use crate::model::{self, Model, Probe};
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// What the random numbers of the training that wrote `path` are keyed by. Its tensors are not read.
///
/// # Errors
/// When the file cannot be read or is no checkpoint of ours.
pub fn streams(path: &Path) -> Result<Streams, Error> {
    let text = header_text(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let broken = || Error::Broken { path: path.to_owned(), reason: "not a checkpoint of this program, or a damaged one".to_owned() };
    header::streams(&text).ok_or_else(broken)
}

/// Writes the checkpoint of `model` and `state`, which is what is remembered of its parameters, to `path`. `probe` is what the model's
/// trainer makes of made-up maps.
pub fn save<'a>(
    path: &Path,
    model: &'a Model,
    state: impl Iterator<Item = (String, &'a Tensor)>,
    progress: &impl Serialize,
    identity: &Identity,
    probe: Option<&Probe>,
) -> Result<(), Error> {
    let plugin_state = model.trainer.save_state().map_err(model::Error::from)?;
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let parameters = model.parameters.iter().map(|(name, parameter)| (name.to_owned(), &parameter.tensor));
    for (name, tensor) in parameters.chain(state) {
        tensors.push((name, on_cpu(tensor)?));
    }
    let broken = |e: safetensors::SafeTensorError| Error::Broken { path: path.to_owned(), reason: e.to_string() };
    let state = TensorView::new(Dtype::U8, vec![plugin_state.len()], &plugin_state).map_err(broken)?;
    let header = TrainingHeader { progress, identity: identity.clone(), probe: probe.map(|probe| probe.form.clone()) };
    write(path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), Some((PLUGIN_STATE, state)), probe, &header)
}

/// Reads parameters, what is remembered of them, and the plugin's state from `path` into `model` and `state`, and returns where training
/// stood. Differences from `identity` are refused, or told as warnings if `anyway`.
pub fn load<'a, Progress: DeserializeOwned>(
    path: &Path,
    model: &mut Model,
    state: impl Iterator<Item = (String, &'a Tensor)>,
    identity: &Identity,
    anyway: bool,
) -> Result<Progress, Error> {
    let bytes = imaging::io::read_large_file(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
    let (tensors, header): (_, TrainingHeader<Progress>) = open(&bytes).map_err(broken)?;
    check_identity(path, &header.identity, identity, anyway)?;
    for (name, parameter) in model.parameters.iter() {
        copy(&tensors, name, &parameter.tensor).map_err(broken)?;
    }
    for (name, tensor) in state {
        copy(&tensors, &name, tensor).map_err(broken)?;
    }
    let plugin_state = tensors.tensor(PLUGIN_STATE).map_err(|e| broken(e.to_string()))?;
    model.trainer.load_state(plugin_state.data()).map_err(model::Error::from)?;
    Ok(header.progress)
}

fn on_cpu(tensor: &Tensor) -> Result<Tensor, Error> {
    Ok(tensor.detach().f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?)
}

fn check_identity(path: &Path, found: &Identity, expected: &Identity, anyway: bool) -> Result<(), Error> {
    let (others, roundings) = found.differences(expected);
    if !others.is_empty() && !anyway {
        return Err(Error::Other { path: path.to_owned(), differences: others });
    }
    if !others.is_empty() {
        log::warn!("checkpoint {}: {}; taken as it is", path.display(), tell(&others));
    }
    if !roundings.is_empty() {
        log::warn!("checkpoint {}: {}; results may differ in rounding", path.display(), tell(&roundings));
    }
    Ok(())
}
