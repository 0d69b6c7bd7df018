//! Weights without what training remembers of them: to predict with, to begin another training with, to hand on.

use super::checkpoint::{Error, open, write};
use super::identity::Origin;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// What is trained, by name: f32 on the CPU.
pub type Weights = BTreeMap<String, Tensor>;

/// The part of a checkpoint's header that is read.
#[derive(Serialize, Deserialize)]
struct Header {
    identity: Origin,
}

/// Reads the weights of a checkpoint, averaged ones where there are.
///
/// # Errors
/// When the file cannot be read or is no checkpoint of ours.
pub fn read_weights(path: &Path) -> Result<(Origin, Weights), Error> {
    let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
    let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let (tensors, header): (_, Header) = open(&bytes).map_err(broken)?;
    let mut weights = Weights::new();
    for name in tensors.names().into_iter().filter(|name| is_weight(name)) {
        let average = tensors.tensor(&format!("ema.{name}"));
        let stored = average.or_else(|_| tensors.tensor(name)).map_err(|e| broken(e.to_string()))?;
        if stored.dtype() != Dtype::F32 {
            return Err(broken(format!("tensor '{name}' is {:?}, expected F32", stored.dtype())));
        }
        let shape: Vec<i64> = stored.shape().iter().map(|size| *size as i64).collect();
        weights.insert(name.to_owned(), Tensor::f_from_data_size(stored.data(), &shape, Kind::Float)?);
    }
    Ok((header.identity, weights))
}

/// Writes a checkpoint that has weights alone; a training cannot go on with it.
///
/// # Errors
/// When the file cannot be written.
pub fn write_weights(path: &Path, origin: &Origin, weights: &Weights) -> Result<(), Error> {
    let tensors = weights.iter().map(|(name, tensor)| (name.as_str(), tensor));
    write(path, tensors, None, &Header { identity: origin.clone() })
}

/// Trunk and heads, as [`crate::network::Parameters`] names them; all else belongs to optimiser, average and plugin.
fn is_weight(name: &str) -> bool {
    ["encoder.", "decoder.", "plugin."].iter().any(|part| name.starts_with(part))
}
