//! A network that begins with the weights of another.

use super::{Checkpoint, Error};
use crate::model;
use crate::network::{Group, PLUGIN, Parameters};
use std::fmt;

/// What became of one tensor of a checkpoint, or of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// Its name.
    pub name: String,
    /// Why it was not loaded; `None` where it was.
    pub skipped: Option<Skipped>,
}

/// Why a tensor was not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skipped {
    /// Weights of losses belong to their losses.
    LossWeight,
    /// Heads were not asked for.
    Head,
    /// The checkpoint lacks it.
    Missing,
    /// The network lacks it.
    OnlyInCheckpoint,
    /// Its shape is another.
    Shape {
        /// In the checkpoint.
        found: Vec<i64>,
        /// In the network.
        expected: Vec<i64>,
    },
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LossWeight => f.write_str("is a weight of losses"),
            Self::Head => f.write_str("is a head (--pretrained-heads takes them, too)"),
            Self::Missing => f.write_str("is not in the checkpoint"),
            Self::OnlyInCheckpoint => f.write_str("is only in the checkpoint"),
            Self::Shape { found, expected } => write!(f, "is {found:?} in the checkpoint, {expected:?} here"),
        }
    }
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
        let is_trunk = !name.starts_with(PLUGIN);
        let expected = parameter.tensor.size();
        let skipped = match checkpoint.weights.get(name) {
            _ if parameter.group == Group::LossWeights => Some(Skipped::LossWeight),
            _ if !is_trunk && !heads => Some(Skipped::Head),
            None => Some(Skipped::Missing),
            Some(stored) if stored.size() != expected => Some(Skipped::Shape { found: stored.size(), expected }),
            Some(stored) => {
                parameter.tensor.shallow_clone().f_copy_(stored).map_err(model::Error::from)?;
                loaded += usize::from(is_trunk);
                None
            }
        };
        treatments.push(Treatment { name: name.to_owned(), skipped });
    }
    for name in checkpoint.weights.keys().filter(|name| parameters.get(name).is_none()) {
        treatments.push(Treatment { name: name.clone(), skipped: Some(Skipped::OnlyInCheckpoint) });
    }
    if loaded == 0 {
        let reason = "no tensor of its trunk fits this network; train with the plans that it was trained with".to_owned();
        return Err(Error::Broken { path: checkpoint.path.clone(), reason });
    }
    Ok(treatments)
}

/// A table: what was loaded, a line a stage, then everything that was not, with the reason.
pub fn treatments_table(treatments: &[Treatment]) -> Vec<Vec<String>> {
    let mut rows = vec![["PART", "TENSORS", "RESULT"].map(str::to_owned).to_vec()];
    let part = |name: &str| name.split('.').take(3).collect::<Vec<_>>().join(".");
    let mut add = |part: String, result: &str| match rows.last_mut() {
        Some(last) if last[0] == part && last[2] == result => last[1] = (last[1].parse().unwrap_or(0) + 1).to_string(),
        _ => rows.push(vec![part, "1".to_owned(), result.to_owned()]),
    };
    treatments.iter().filter(|treatment| treatment.skipped.is_none()).for_each(|treatment| add(part(&treatment.name), "loaded"));
    for Treatment { name, skipped } in treatments {
        if let Some(reason) = skipped {
            // Shapes differ from one to the next.
            add(if matches!(reason, Skipped::Shape { .. }) { name.clone() } else { part(name) }, &format!("skipped: {reason}"));
        }
    }
    rows
}
