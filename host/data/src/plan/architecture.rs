//! The section `architecture` of a configuration: nnU-Net's network class and its arguments.
//!
//! What the arguments mean is the network's business. Planning, preprocessing and patches need to know of them only by how much each stage
//! halves a patch.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The network and its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Python path of nnU-Net's class.
    pub network_class_name: String,
    /// Its arguments, as the plans have them.
    pub arch_kwargs: Map<String, Value>,
    /// Arguments that nnU-Net has to import by name.
    #[serde(rename = "_kw_requires_import")]
    pub kw_requires_import: Vec<String>,
}

impl Architecture {
    /// Product of the strides along each of the axes of a patch: what it has to be divisible by. 1 where the network has no strides.
    pub(super) fn total_stride(&self, dims: usize) -> Vec<usize> {
        let strides = self.strides(dims).unwrap_or_default();
        (0..dims).map(|axis| strides.iter().fold(1, |product: usize, stride| product.saturating_mul(stride[axis]))).collect()
    }

    /// Whether a patch of `dims` axes can be strided; if not, what `strides` is.
    pub(super) fn check(&self, dims: usize) -> Result<(), String> {
        match self.arch_kwargs.get("strides") {
            Some(strides) if self.strides(dims).is_none() => Err(strides.to_string()),
            _ => Ok(()),
        }
    }

    fn strides(&self, dims: usize) -> Option<Vec<Vec<usize>>> {
        let strides: Vec<Vec<usize>> = Vec::deserialize(self.arch_kwargs.get("strides")?).ok()?;
        strides.iter().all(|stride| stride.len() == dims && !stride.contains(&0)).then_some(strides)
    }
}
