//! A network that begins with the weights of another.

use super::{Checkpoint, Error};
use crate::model;
use crate::network::{Group, Parameters};

/// What became of one tensor of a checkpoint, or of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// Its name.
    pub name: String,
    /// Why it was not loaded; `None` where it was.
    pub skipped: Option<String>,
}

/// Copies what fits of `checkpoint` to `parameters`: the trunk, and the heads only where `heads` says so, since they belong to the labels that
/// they were trained for (nnU-Net, `load_pretrained_weights`, skips its segmentation layers, too).
///
/// # Errors
/// When no part of the trunk fits.
pub fn pretrain(checkpoint: &Checkpoint, parameters: &Parameters, heads: bool) -> Result<Vec<Treatment>, Error> {
    let _no_grad = tch::no_grad_guard();
    let mut treatments = Vec::new();
    let mut loaded = 0;
    for (name, parameter) in parameters.iter() {
        let is_trunk = !name.starts_with("plugin.");
        let expected = parameter.tensor.size();
        let skipped = match checkpoint.weights.get(name) {
            _ if parameter.group == Group::LossWeights => Some("is a weight of losses".to_owned()),
            _ if !is_trunk && !heads => Some("is a head (--pretrained-heads takes them, too)".to_owned()),
            None => Some("is not in the checkpoint".to_owned()),
            Some(stored) if stored.size() != expected => Some(format!("is {:?} in the checkpoint, {expected:?} here", stored.size())),
            Some(stored) => {
                parameter.tensor.shallow_clone().f_copy_(stored).map_err(model::Error::from)?;
                loaded += usize::from(is_trunk);
                None
            }
        };
        treatments.push(Treatment { name: name.to_owned(), skipped });
    }
    for name in checkpoint.weights.keys().filter(|name| parameters.get(name).is_none()) {
        treatments.push(Treatment { name: name.clone(), skipped: Some("is only in the checkpoint".to_owned()) });
    }
    if loaded == 0 {
        let reason = "no tensor of its trunk fits this network; train with the plans that it was trained with".to_owned();
        return Err(Error::Broken { path: checkpoint.path.clone(), reason });
    }
    Ok(treatments)
}

/// A table: what was loaded, a line a stage, then everything that was not, with the reason.
pub fn table(treatments: &[Treatment]) -> Vec<Vec<String>> {
    let mut rows = vec![["PART", "TENSORS", "RESULT"].map(str::to_owned).to_vec()];
    let part = |name: &str| name.split('.').take(3).collect::<Vec<_>>().join(".");
    let mut add = |part: String, result: &str| match rows.last_mut() {
        Some(last) if last[0] == part && last[2] == result => last[1] = (last[1].parse().unwrap_or(0) + 1).to_string(),
        _ => rows.push(vec![part, "1".to_owned(), result.to_owned()]),
    };
    treatments.iter().filter(|treatment| treatment.skipped.is_none()).for_each(|treatment| add(part(&treatment.name), "loaded"));
    for Treatment { name, skipped } in treatments {
        if let Some(reason) = skipped {
            add(if reason.contains('[') { name.clone() } else { part(name) }, &format!("skipped: {reason}"));
        }
    }
    rows
}
