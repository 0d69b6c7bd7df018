//! Checkpoints: everything that a run needs to go on as if it had never stopped.
//!
//! Beside what [`format`](super::format) holds of a network, the header says where the training stands, in the training's own words, and whose it
//! is: an [`Identity`].

use super::CheckpointError as Error;
use super::format::{KEY, PLUGIN_STATE, copy, header_text, open, write};
use super::identity::{Identity, Streams, tell};
use crate::model::{self, Model, Probe, ProbeForm};
use safetensors::tensor::{Dtype, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Device, Kind, Tensor};

#[derive(Serialize, Deserialize)]
struct Header<Progress> {
    progress: Progress,
    identity: Identity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probe: Option<ProbeForm>,
}

/// What the random numbers of the training that wrote `path` are keyed by. Its tensors are not read.
///
/// # Errors
/// When the file cannot be read or is no checkpoint of ours.
pub fn streams(path: &Path) -> Result<Streams, Error> {
    #[derive(Deserialize)]
    struct Header {
        identity: Keyed,
    }
    #[derive(Deserialize)]
    struct Keyed {
        #[serde(default)]
        streams: Streams,
    }
    let text = header_text(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    // A header of safetensors is an object of tensors by name, and one of what else there is to say.
    let told = serde_json::from_slice::<serde_json::Value>(&text).ok().and_then(|all| all["__metadata__"][KEY].as_str().map(str::to_owned));
    let header: Option<Header> = told.and_then(|told| serde_json::from_str(&told).ok());
    let broken = || Error::Broken { path: path.to_owned(), reason: "not a checkpoint of this program, or a damaged one".to_owned() };
    Ok(header.ok_or_else(broken)?.identity.streams)
}

/// Writes the checkpoint of `model` and `state`, which is what is remembered of its parameters, to `path`. `probe` is what the model's trainer makes of
/// made-up maps.
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
    let header = Header { progress, identity: identity.clone(), probe: probe.map(|probe| probe.form.clone()) };
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
    let (tensors, header): (_, Header<Progress>) = open(&bytes).map_err(broken)?;
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
