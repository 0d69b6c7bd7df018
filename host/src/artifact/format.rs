//! The file of a checkpoint: safetensors, with a header of ours.
//!
//! Tensors: every parameter under its name, what optimiser and average remember of it as `<what>.<name>` (`velocity`, `ema`, …), the
//! plugin's state as bytes under `plugin_state`, the numbers of a [`Probe`] under `probe`. Its JSON is in `header`. Written to a temporary
//! file, synced and renamed, so that a crash or a full disk leaves the previous checkpoint.

use super::CheckpointError as Error;
use super::header::KEY;
use crate::model::{Probe, ProbeForm};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use tch::{Kind, Tensor};

/// The plugin's state.
pub(super) const PLUGIN_STATE: &str = "plugin_state";
const PROBE: &str = "probe";

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
pub(super) fn copy(tensors: &SafeTensors, name: &str, into: &Tensor) -> Result<(), String> {
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

/// The header of a safetensors file, which comes after its length.
pub(super) fn header_text(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = imaging::io::open_file(path)?;
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let mut text = Vec::new();
    file.take(u64::from_le_bytes(length)).read_to_end(&mut text)?;
    Ok(text)
}
