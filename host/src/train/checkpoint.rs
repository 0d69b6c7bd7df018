//! Checkpoints: everything that a run needs to go on as if it had never stopped.
//!
//! A safetensors file. Tensors: every parameter under its name, its velocity as `velocity.<name>`, the plugin's state as bytes under
//! `plugin_state`. Header: [`Progress`] and [`Identity`] as JSON. Written to a temporary file, synced and renamed, so that a crash or
//! a full disk leaves the previous checkpoint.

use crate::network::{self, Model, Parameters};
use indexmap::IndexMap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// The one metadata key: several would be written in random order.
const KEY: &str = "checkpoint";
const PLUGIN_STATE: &str = "plugin_state";

/// Where training stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Epoch to go on with.
    pub epoch: u64,
    /// Iteration of that epoch to go on with; not 0 after Ctrl-C.
    pub iteration: u64,
    /// Whether the plugin has been told that the epoch began.
    pub epoch_started: bool,
    /// Sums over the epoch's iterations so far.
    pub sums: super::TermSums,
    /// Seconds spent on the epoch so far.
    pub seconds: f64,
    /// Exponential moving average of every output's metric.
    pub ema: IndexMap<String, f64>,
    /// Best EMA score so far.
    pub best: Option<f64>,
    /// Length of `metrics.jsonl` and `log.txt`: what comes after is cut off on resuming.
    pub log_lengths: [u64; 2],
}

/// What a checkpoint belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Plugin id.
    pub plugin: String,
    /// Its version.
    pub plugin_version: String,
    /// Of its file.
    pub plugin_sha256: String,
    /// Options of the run.
    pub options: serde_json::Value,
    /// Hash of data, sampler, pipeline and seed.
    pub data_key: String,
    /// Patch (z, y, x).
    pub patch: [usize; 3],
    /// Axes of mirroring, in training and so in prediction.
    pub mirror: Vec<usize>,
    /// Epochs of the whole run: the schedule depends on them.
    pub epochs: u64,
    /// Training iterations an epoch: the position in the data depends on them.
    pub iterations: u64,
    /// Whether it was computed under bf16 autocast.
    pub bf16: bool,
    /// libtorch that computed it.
    pub libtorch: String,
    /// Threads that computed it.
    pub threads: i32,
}

#[derive(Serialize, Deserialize)]
struct Header {
    progress: Progress,
    identity: Identity,
}

/// A checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refuses.
    #[error("checkpoint {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Writing failed; what was there before is still there.
    #[error("checkpoint was not written, the previous one is kept: {0}")]
    Write(#[from] imaging::io::Error),
    /// Not a checkpoint, or a damaged one.
    #[error("checkpoint {}: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It belongs to another run.
    #[error("checkpoint {}: its {what} is {found}, this run has {expected}; give the same, or start anew with --overwrite", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// There.
        found: String,
        /// Here.
        expected: String,
    },
    /// libtorch or the plugin.
    #[error(transparent)]
    Network(#[from] network::Error),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Network(error.into())
    }
}

/// Writes the checkpoint of `model` and the optimiser's `velocity` to `path`.
pub fn save(
    path: &Path,
    model: &Model,
    velocity: &IndexMap<String, Tensor>,
    progress: &Progress,
    identity: &Identity,
) -> Result<(), Error> {
    let state = model.trainer.save_state().map_err(network::Error::from)?;
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for (name, parameter) in model.parameters.iter() {
        tensors.push((name.to_owned(), on_cpu(&parameter.tensor)?));
    }
    for (name, velocity) in velocity {
        tensors.push((format!("velocity.{name}"), on_cpu(velocity)?));
    }
    let view = |tensor: &Tensor| {
        // SAFETY: a contiguous f32 tensor on the CPU, alive and unchanged until the file is written.
        let bytes = unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), tensor.numel() * 4) };
        let shape = tensor.size().iter().map(|size| *size as usize).collect();
        TensorView::new(Dtype::F32, shape, bytes)
    };
    let broken = |e: safetensors::SafeTensorError| Error::Broken { path: path.to_owned(), reason: e.to_string() };
    let mut views = Vec::with_capacity(tensors.len() + 1);
    for (name, tensor) in &tensors {
        views.push((name.as_str(), view(tensor).map_err(broken)?));
    }
    views.push((PLUGIN_STATE, TensorView::new(Dtype::U8, vec![state.len()], &state).map_err(broken)?));
    let header = Header { progress: progress.clone(), identity: identity.clone() };
    let metadata = HashMap::from([(KEY.to_owned(), serde_json::to_string(&header).expect("plain data"))]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(broken)?;
    Ok(imaging::io::write_atomically(path, |file| file.write_all(&bytes))?)
}

/// Reads parameters, velocity and plugin state from `path` into `model` and `velocity`, and returns where training stood.
pub fn load(path: &Path, model: &mut Model, velocity: &IndexMap<String, Tensor>, identity: &Identity) -> Result<Progress, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
    let (tensors, header) = open(&bytes).map_err(broken)?;
    check_identity(path, &header.identity, identity)?;
    copy_parameters(&tensors, &model.parameters).map_err(broken)?;
    for (name, velocity) in velocity {
        copy(&tensors, &format!("velocity.{name}"), velocity).map_err(broken)?;
    }
    let state = tensors.tensor(PLUGIN_STATE).map_err(|e| broken(e.to_string()))?;
    model.trainer.load_state(state.data()).map_err(network::Error::from)?;
    Ok(header.progress)
}

/// Reads the parameters alone, which is what prediction needs, and returns what they belong to.
pub fn load_weights(path: &Path, parameters: &Parameters) -> Result<Identity, Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
    let (tensors, header) = open(&bytes).map_err(broken)?;
    copy_parameters(&tensors, parameters).map_err(broken)?;
    Ok(header.identity)
}

fn on_cpu(tensor: &Tensor) -> Result<Tensor, Error> {
    Ok(tensor.detach().f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?)
}

fn open(bytes: &[u8]) -> Result<(SafeTensors<'_>, Header), String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| format!("not a safetensors file ({e})"))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| format!("damaged ({e})"))?;
    let header =
        metadata.metadata().as_ref().and_then(|m| m.get(KEY)).ok_or("not a checkpoint of this program: its header has no progress")?;
    Ok((tensors, serde_json::from_str(header).map_err(|e| format!("damaged header ({e})"))?))
}

fn copy_parameters(tensors: &SafeTensors, parameters: &Parameters) -> Result<(), String> {
    parameters.iter().try_for_each(|(name, parameter)| copy(tensors, name, &parameter.tensor))
}

/// Copies, so that what trains lies in memory of libtorch's own alignment: results must not depend on where a file was mapped.
fn copy(tensors: &SafeTensors, name: &str, into: &Tensor) -> Result<(), String> {
    let stored = tensors.tensor(name).map_err(|e| format!("has no tensor '{name}' ({e})"))?;
    let shape: Vec<i64> = stored.shape().iter().map(|size| *size as i64).collect();
    if stored.dtype() != Dtype::F32 || shape != into.size() {
        return Err(format!("tensor '{name}' is {:?} {shape:?}, expected F32 {:?}", stored.dtype(), into.size()));
    }
    let source = Tensor::f_from_data_size(stored.data(), &shape, Kind::Float).map_err(|e| e.to_string())?;
    let _no_grad = tch::no_grad_guard();
    let mut into = into.shallow_clone();
    into.f_copy_(&source).map_err(|e| e.to_string())
}

fn check_identity(path: &Path, found: &Identity, expected: &Identity) -> Result<(), Error> {
    let other = |what, found: String, expected: String| Err(Error::Other { path: path.to_owned(), what, found, expected });
    if (&found.plugin, &found.plugin_version) != (&expected.plugin, &expected.plugin_version) {
        let name = |i: &Identity| format!("{} {}", i.plugin, i.plugin_version);
        return other("plugin", name(found), name(expected));
    }
    if found.options != expected.options {
        return other("set of plugin options", found.options.to_string(), expected.options.to_string());
    }
    if found.data_key != expected.data_key {
        return other("data key", found.data_key.clone(), expected.data_key.clone());
    }
    if found.epochs != expected.epochs {
        return other("number of epochs", found.epochs.to_string(), expected.epochs.to_string());
    }
    if found.iterations != expected.iterations {
        return other("number of iterations an epoch", found.iterations.to_string(), expected.iterations.to_string());
    }
    if found.bf16 != expected.bf16 {
        let name = |bf16| if bf16 { "bf16" } else { "fp32" }.to_owned();
        return other("precision", name(found.bf16), name(expected.bf16));
    }
    if found.plugin_sha256 != expected.plugin_sha256 {
        log::warn!("checkpoint {}: written with another build of the plugin (sha256 {})", path.display(), found.plugin_sha256);
    }
    if (&found.libtorch, found.threads) != (&expected.libtorch, expected.threads) {
        let (libtorch, threads) = (&found.libtorch, found.threads);
        log::warn!(
            "checkpoint {}: computed with libtorch {libtorch} and {threads} threads; results may differ in rounding",
            path.display()
        );
    }
    Ok(())
}
