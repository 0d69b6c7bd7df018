//! The weights in a checkpoint, without what a training remembers of them: to predict with, to begin another training with, to hand on.

use super::format::{open, probe_of, write};
use super::header::NetworkHeader;
use super::{CheckpointError as Error, Origin};
use crate::model::Probe;
use crate::network::PLUGIN;
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// What is trained, by name: f32 on the CPU.
pub type Weights = BTreeMap<String, Tensor>;

/// What a checkpoint holds that is not for going on with the training.
#[derive(Debug)]
pub struct Saved {
    /// What was trained.
    pub origin: Origin,
    /// Its weights, averaged ones where there are.
    pub weights: Weights,
    /// What its trainer made of made-up maps with them. Not in nnU-Net's checkpoints, nor in ours from before 2026-12.
    pub probe: Option<Probe>,
}

/// Reads what a checkpoint has learnt; `look` sees the file's bytes.
///
/// # Errors
/// When the file cannot be read or is no checkpoint of ours.
pub fn read_weights(path: &Path, look: impl FnOnce(&[u8])) -> Result<Saved, Error> {
    let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
    let bytes = imaging::io::read_large_file(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    look(&bytes);
    let (tensors, header): (_, NetworkHeader) = open(&bytes).map_err(broken)?;
    let mut weights = Weights::new();
    let trunk = header.identity.trunk().map_err(broken)?;
    // All else belongs to optimiser, average and plugin.
    let is_weight = |name: &&str| trunk.owns(name) || name.starts_with(PLUGIN);
    for name in tensors.names().into_iter().filter(is_weight) {
        let average = tensors.tensor(&format!("ema.{name}"));
        let stored = average.or_else(|_| tensors.tensor(name)).map_err(|e| broken(e.to_string()))?;
        if stored.dtype() != Dtype::F32 {
            return Err(broken(format!("tensor '{name}' is {:?}, expected F32", stored.dtype())));
        }
        let shape: Vec<i64> = stored.shape().iter().map(|size| *size as i64).collect();
        weights.insert(name.to_owned(), Tensor::f_from_data_size(stored.data(), &shape, Kind::Float)?);
    }
    let probe = probe_of(&tensors, header.probe).map_err(broken)?;
    Ok(Saved { origin: header.identity, weights, probe })
}

/// Writes a checkpoint that has weights alone; a training cannot go on with it.
///
/// # Errors
/// When the file cannot be written.
pub fn write_weights(path: &Path, saved: &Saved) -> Result<(), Error> {
    let tensors = saved.weights.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let probe = saved.probe.as_ref();
    write(path, tensors, None, probe, &NetworkHeader { identity: saved.origin.clone(), probe: probe.map(|probe| probe.form.clone()) })
}
