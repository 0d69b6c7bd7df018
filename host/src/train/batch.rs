//! Batches of the loader as tensors on the device.

use crate::loading::{self, Array, Levels};
use crate::network::Error;
use plugin_api::{Batch, Target};
use tch::{Device, Kind, Tensor, kind::Element};

/// Moves `batch` to `device`; 2D networks get (B, C, Y, X).
pub fn to_tensors(batch: &loading::Batch, dims: usize, device: Device) -> Result<Batch, Error> {
    let move_target = |target: &loading::TargetBatch| {
        Ok::<_, Error>(Target {
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
    };
    let targets = batch.targets.iter().map(|(name, target)| Ok((name.clone(), move_target(target)?)));
    Ok(Batch { image: tensor(&batch.image, dims, device)?, cases: batch.cases.clone(), targets: targets.collect::<Result<_, Error>>()? })
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
