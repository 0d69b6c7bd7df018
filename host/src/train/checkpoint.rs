//! Checkpoints: everything that a run needs to go on as if it had never stopped.
//!
//! A safetensors file. Tensors: every parameter under its name, what optimiser and average remember of it as `<what>.<name>`
//! (`velocity`, `ema`, …), the plugin's state as bytes under `plugin_state`, the numbers of a [`Probe`] under `probe`. Header: [`Progress`], [`Identity`]
//! and the probe's form as JSON. Written to a
//! temporary file, synced and renamed, so that a crash or a full disk leaves the previous checkpoint.

use super::identity::{Difference, Identity, Streams};
use super::loss_scale::LossScale;
use super::weighting::Cosines;
use crate::network::{self, Model};
use crate::plugin::{Probe, ProbeForm};
use indexmap::IndexMap;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tch::{Device, Kind, Tensor};

/// The one metadata key: several would be written in random order.
pub(super) const KEY: &str = "checkpoint";
const PLUGIN_STATE: &str = "plugin_state";
const PROBE: &str = "probe";

/// Where training stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Epoch to go on with.
    pub epoch: u64,
    /// Iteration of that epoch to go on with; not 0 in the middle of one.
    pub iteration: u64,
    /// Optimiser steps so far.
    pub updates: u64,
    /// Whether the plugin has been told that the epoch began.
    pub epoch_started: bool,
    /// Sums over the epoch's iterations so far.
    pub sums: super::TermSums,
    /// Seconds spent on the epoch so far.
    pub seconds: f64,
    /// Exponential moving average of every output's metric.
    pub ema: IndexMap<String, f64>,
    /// Sum of the epoch's gradient norms before clipping.
    pub gradient_norms: f64,
    /// Steps of the epoch that were skipped, since loss or gradients were not finite.
    pub skipped: u64,
    /// Skipped one after the other, up to now.
    pub skipped_in_a_row: u64,
    /// What the weighting of terms remembers. Not in the oldest checkpoints.
    #[serde(default)]
    pub weighting: super::weighting::State,
    /// Cosines between gradients of terms, in the epoch so far. Not in the oldest checkpoints.
    #[serde(default)]
    pub cosines: Cosines,
    /// Factor of the loss in float16.
    pub loss_scale: LossScale,
    /// Best EMA score so far, and its epoch.
    pub best: Option<(f64, u64)>,
    /// Early stopping has ended the training.
    pub stopped_early: bool,
    /// What each learned weight of a term began with. Not in the oldest checkpoints.
    #[serde(default)]
    pub first_weights: IndexMap<String, f64>,
    /// Warnings that were given already.
    pub warned: Vec<String>,
    /// Lengths of `metrics.jsonl`, `log.txt` and the TensorBoard events: what comes after is cut off on resuming.
    pub log_lengths: [u64; 3],
}

/// Which checkpoints are written, and kept.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// Epochs from one to the next.
    pub every: u64,
    /// Time from one to the next, in the middle of epochs, too.
    pub interval: Option<Duration>,
    /// How many are kept of those at the end of an epoch, beside the latest.
    pub last: usize,
}

impl Keeping {
    /// Keeps the latest checkpoint in `folder`, of the end of `epoch`, under a name of its own, and removes what is too old.
    pub(super) fn keep(&self, folder: &Path, epoch: u64) {
        if self.last == 0 {
            return;
        }
        let (latest, kept) = (path(folder, "latest"), path(folder, &format!("epoch_{epoch:04}")));
        let _ = std::fs::remove_file(&kept);
        // A link costs nothing: the latest is never changed, only replaced.
        if let Err(error) = std::fs::hard_link(&latest, &kept).or_else(|_| std::fs::copy(&latest, &kept).map(drop)) {
            log::warn!("{}: {error}; this checkpoint is not kept", kept.display());
        }
        for (_, old) in numbered(folder).iter().rev().skip(self.last) {
            let _ = std::fs::remove_file(old);
        }
    }
}

/// A fold's checkpoint: `latest`, `best`, `final` or `epoch_NNNN`.
pub fn path(folder: &Path, which: &str) -> PathBuf {
    folder.join(format!("checkpoint_{which}.safetensors"))
}

/// What a run goes on with: the latest checkpoint of `folder`, else the final one, else the newest that is kept by its epoch.
pub fn newest(folder: &Path) -> Option<PathBuf> {
    let kept = numbered(folder).pop().map(|(_, path)| path);
    [Some(path(folder, "latest")), Some(path(folder, "final")), kept].into_iter().flatten().find(|path| path.exists())
}

/// Checkpoints that are kept by their epoch, oldest first.
fn numbered(folder: &Path) -> Vec<(u64, PathBuf)> {
    let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("checkpoint_epoch_")?.strip_suffix(".safetensors")?.parse().ok();
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<(u64, PathBuf)> = files.filter_map(|path| Some((number(&path)?, path))).collect();
    found.sort();
    found
}

#[derive(Serialize, Deserialize)]
struct Header {
    progress: Progress,
    identity: Identity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probe: Option<ProbeForm>,
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
        source: io::Error,
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
    #[error("checkpoint {}: {}; give the same, take it as it is (--resume-anyway), or start anew (--overwrite)", path.display(), tell(differences))]
    Other {
        /// The file.
        path: PathBuf,
        /// What differs, at least one.
        differences: Vec<Difference>,
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

/// The header of a safetensors file, which comes after its length.
fn header_text(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = imaging::io::open_file(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut text = Vec::new();
    file.take(u64::from_le_bytes(length)).read_to_end(&mut text)?;
    Ok(text)
}

/// Writes the checkpoint of `model` and `state`, which is what is remembered of its parameters, to `path`. `probe` is what the model's trainer makes of
/// made-up maps.
pub fn save<'a>(
    path: &Path,
    model: &'a Model,
    state: impl Iterator<Item = (String, &'a Tensor)>,
    progress: &Progress,
    identity: &Identity,
    probe: Option<&Probe>,
) -> Result<(), Error> {
    let plugin_state = model.trainer.save_state().map_err(network::Error::from)?;
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let parameters = model.parameters.iter().map(|(name, parameter)| (name.to_owned(), &parameter.tensor));
    for (name, tensor) in parameters.chain(state) {
        tensors.push((name, on_cpu(tensor)?));
    }
    let broken = |e: safetensors::SafeTensorError| Error::Broken { path: path.to_owned(), reason: e.to_string() };
    let state = TensorView::new(Dtype::U8, vec![plugin_state.len()], &plugin_state).map_err(broken)?;
    let header = Header { progress: progress.clone(), identity: identity.clone(), probe: probe.map(|probe| probe.form.clone()) };
    write(path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), Some((PLUGIN_STATE, state)), probe, &header)
}

/// Writes f32 `tensors` of the CPU, in C order, the numbers of `probe`, and what else there is.
pub(super) fn write<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    more: Option<(&'a str, TensorView<'a>)>,
    probe: Option<&Probe>,
    header: &impl Serialize,
) -> Result<(), Error> {
    let broken = |e: safetensors::SafeTensorError| Error::Broken { path: path.to_owned(), reason: e.to_string() };
    let view = |tensor: &'a Tensor| {
        let bytes = match tensor.numel() {
            // libtorch has no memory for these.
            0 => &[],
            // SAFETY: a contiguous f32 tensor on the CPU with that many numbers, alive and unchanged until the file is written.
            numbers => unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), numbers * 4) },
        };
        let shape = tensor.size().iter().map(|size| *size as usize).collect();
        TensorView::new(Dtype::F32, shape, bytes)
    };
    let numbers: Option<Vec<u8>> = probe.map(|probe| probe.numbers.iter().flat_map(|number| number.to_le_bytes()).collect());
    let probe = numbers.iter().map(|bytes| Ok((PROBE, TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes)?)));
    let views = tensors.map(|(name, tensor)| Ok((name, view(tensor)?))).chain(more.map(Ok)).chain(probe).collect::<Result<Vec<_>, _>>();
    let metadata = HashMap::from([(KEY.to_owned(), serde_json::to_string(header).expect("plain data"))]);
    let bytes = safetensors::serialize(views.map_err(broken)?, Some(metadata)).map_err(broken)?;
    Ok(imaging::io::write_atomically(path, |file| file.write_all(&bytes))?)
}

/// Reads parameters, what is remembered of them, and the plugin's state from `path` into `model` and `state`, and returns where training
/// stood. Differences from `identity` are refused, or told as warnings if `anyway`.
pub fn load<'a>(
    path: &Path,
    model: &mut Model,
    state: impl Iterator<Item = (String, &'a Tensor)>,
    identity: &Identity,
    anyway: bool,
) -> Result<Progress, Error> {
    let bytes = imaging::io::read_large_file(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
    let (tensors, header): (_, Header) = open(&bytes).map_err(broken)?;
    check_identity(path, &header.identity, identity, anyway)?;
    for (name, parameter) in model.parameters.iter() {
        copy(&tensors, name, &parameter.tensor).map_err(broken)?;
    }
    for (name, tensor) in state {
        copy(&tensors, &name, tensor).map_err(broken)?;
    }
    let plugin_state = tensors.tensor(PLUGIN_STATE).map_err(|e| broken(e.to_string()))?;
    model.trainer.load_state(plugin_state.data()).map_err(network::Error::from)?;
    Ok(header.progress)
}

pub(super) fn on_cpu(tensor: &Tensor) -> Result<Tensor, Error> {
    Ok(tensor.detach().f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?)
}

/// The tensors of a file, and what its header says.
pub(super) fn open<H: DeserializeOwned>(bytes: &[u8]) -> Result<(SafeTensors<'_>, H), String> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| format!("not a safetensors file ({e})"))?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| format!("damaged ({e})"))?;
    let metadata = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
    let header = metadata.ok_or("not a checkpoint of this program: its header does not say what was trained")?;
    Ok((tensors, serde_json::from_str(header).map_err(|e| format!("its header cannot be read ({e})"))?))
}

/// The probe among `tensors` that has this form.
pub(super) fn probe_of(tensors: &SafeTensors, form: Option<ProbeForm>) -> Result<Option<Probe>, String> {
    let Some(form) = form else { return Ok(None) };
    let stored = tensors.tensor(PROBE).map_err(|e| format!("has no tensor '{PROBE}' ({e})"))?;
    let (numbers, rest) = stored.data().as_chunks::<4>();
    if stored.dtype() != Dtype::F32
        || !rest.is_empty()
        || Some(numbers.len()) != form.parts.iter().try_fold(0usize, |sum, (_, count)| sum.checked_add(*count))
    {
        return Err(format!("its tensor '{PROBE}' is {:?} {:?}, which is not what its header says", stored.dtype(), stored.shape()));
    }
    Ok(Some(Probe { form, numbers: numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect() }))
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

fn tell(differences: &[Difference]) -> String {
    let one = |d: &Difference| format!("its {} is {}, this run has {}", d.what, d.found, d.expected);
    differences.iter().map(one).collect::<Vec<_>>().join("; ")
}
