//! Batches of the loader as tensors on the device: loaded once for all arms, with what the plugin of each has made of them.

use crate::loading::{self, Array, Levels};
use crate::network::Error;
use indexmap::IndexMap;
use plugin_api::{Batch, Target};
use tch::{Device, Kind, Tensor, kind::Element};

/// What every arm sees of a batch.
#[derive(Debug)]
pub struct Loaded {
    shared: Batch,
    /// For each arm what its plugin has made.
    made: Vec<IndexMap<String, Target>>,
}

impl Loaded {
    /// Moves `batch` to `device`; 2D networks get (B, C, Y, X).
    pub fn new(batch: &loading::Batch, dims: usize, device: Device) -> Result<Self, Error> {
        let targets = |targets: &IndexMap<String, loading::TargetBatch>| -> Result<IndexMap<String, Target>, Error> {
            targets.iter().map(|(name, target)| Ok((name.clone(), to_tensors(target, dims, device)?))).collect()
        };
        let shared = Batch { image: tensor(&batch.image, dims, device)?, cases: batch.cases.clone(), targets: targets(&batch.targets)? };
        Ok(Self { shared, made: batch.made.iter().map(targets).collect::<Result<_, _>>()? })
    }

    /// The batch of arm number `arm`. Shares its memory.
    pub fn of_arm(&self, arm: usize) -> Batch {
        let share = |tensors: &[Tensor]| tensors.iter().map(Tensor::shallow_clone).collect();
        let targets = self.shared.targets.iter().chain(&self.made[arm]);
        let targets = targets.map(|(name, target)| {
            let (levels, valid) = (share(&target.levels), share(&target.valid));
            (name.clone(), Target { levels, valid, presence: target.presence.shallow_clone() })
        });
        Batch { image: self.shared.image.shallow_clone(), cases: self.shared.cases.clone(), targets: targets.collect() }
    }
}

fn to_tensors(target: &loading::TargetBatch, dims: usize, device: Device) -> Result<Target, Error> {
    Ok(Target {
        levels: match &target.levels {
            // Two bytes a voxel on the way to the device, eight there: losses take them as indices.
            Levels::Labels(levels) => {
                all(levels, dims, device)?.iter().map(|level| level.f_to_kind(Kind::Int64)).collect::<Result<_, _>>()?
            }
            Levels::Regions(levels) => all(levels, dims, device)?,
            Levels::Regression(levels) => all(levels, dims, device)?,
            Levels::Class(class) => vec![tensor(class, dims, device)?],
        },
        valid: all(target.valid(), dims, device)?,
        presence: Tensor::f_from_slice(&target.presence)?.f_to_device(device)?,
    })
}

fn all<T: Element>(arrays: &[Array<T>], dims: usize, device: Device) -> Result<Vec<Tensor>, Error> {
    arrays.iter().map(|array| tensor(array, dims, device)).collect()
}

fn tensor<T: Element>(array: &Array<T>, dims: usize, device: Device) -> Result<Tensor, Error> {
    let mut shape: Vec<i64> = array.shape.iter().map(|size| *size as i64).collect();
    if dims == 2 && shape.len() == 5 {
        shape.remove(2);
    }
    Ok(Tensor::f_from_slice(&array.data)?.f_view(shape.as_slice())?.f_to_device(device)?)
}
