//! Batches of the loader as tensors on the device: loaded once for all learners, with what the plugin of each has made of them.

use crate::kinds::levels::all;
use crate::loading::{self, TargetBatch};
use crate::network::Error;
use indexmap::IndexMap;
use plugin_api::{Batch, Target};
use tch::{Device, Tensor};

/// Moves `batch` to `device`, for one learner after the other with what its plugin has made, `made`. What all of them see shares its memory. 2D networks
/// get (B, C, Y, X).
pub fn to_device(batch: &loading::Batch, made: &[IndexMap<String, TargetBatch>], dims: usize, device: Device) -> Result<Vec<Batch>, Error> {
    let targets = |targets: &IndexMap<String, TargetBatch>| -> Result<IndexMap<String, Target>, Error> {
        targets.iter().map(|(name, target)| Ok((name.clone(), to_tensors(target, dims, device)?))).collect()
    };
    let (image, shared) = (batch.image.tensor(dims, device)?, targets(&batch.targets)?);
    let of_one = |made: &IndexMap<String, TargetBatch>| {
        let mut all: IndexMap<String, Target> = shared.iter().map(|(name, target)| (name.clone(), share(target))).collect();
        all.extend(targets(made)?);
        Ok(Batch { image: image.shallow_clone(), cases: batch.cases.clone(), targets: all })
    };
    made.iter().map(of_one).collect()
}

fn share(target: &Target) -> Target {
    let all = |tensors: &[Tensor]| tensors.iter().map(Tensor::shallow_clone).collect();
    Target { levels: all(&target.levels), valid: all(&target.valid), presence: target.presence.shallow_clone() }
}

fn to_tensors(target: &TargetBatch, dims: usize, device: Device) -> Result<Target, Error> {
    Ok(Target {
        levels: target.levels.tensors(dims, device)?,
        valid: all(target.valid(), dims, device)?,
        presence: Tensor::f_from_slice(&target.presence)?.f_to_device(device)?,
    })
}
