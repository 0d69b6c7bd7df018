//! A picture of the first sample of a validation batch: every output beside its target.

use super::metrics::Predicted;
use crate::kinds::Drawn;
use crate::network;
use crate::report::picture;
use crate::report::picture::overlay::{self, Row, best_planes};
use imaging::Volume;
use plugin_api::{Batch, Kind, Output, Task};
use std::path::Path;
use tch::{Device, Kind as Dtype, Tensor};

/// A picture that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libtorch.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// The file.
    #[error(transparent)]
    Picture(#[from] picture::Error),
    /// Its folder, or reading it again.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Network(error.into())
    }
}

/// Draws what is `predicted` for the first sample of `batch` to `path`, predictions on the left, targets on the right, and returns the PNG.
pub fn draw(path: &Path, predicted: &Predicted, batch: &Batch, declared: &[Output], task: &Task) -> Result<Vec<u8>, Error> {
    let image: Volume<f32> = volume(&batch.image, Dtype::Float)?;
    let mut maps = Vec::new();
    for output in declared {
        let target = output.target.as_ref().and_then(|name| batch.targets.get(name));
        let (Some(map), Some(target)) = (predicted.get(&output.name), target) else { continue };
        maps.extend(pair(output.kind, map, &target.levels[0], predicted)?);
    }
    let spacing = [if task.dims == 2 { 1.0 } else { task.spacing[0] }, task.spacing[task.dims - 2], task.spacing[task.dims - 1]];
    let labels = maps.iter().find_map(|[_, target]| target.labels());
    let centre = labels.map_or_else(|| image.spatial().map(|size| size / 2), best_planes);
    let rows: Vec<Row> =
        maps.iter().map(|[prediction, target]| Row { prediction: prediction.into(), reference: Some(target.into()) }).collect();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    overlay::write(path, &image, spacing, centre, &rows)?;
    Ok(std::fs::read(path)?)
}

/// Prediction and target, by the `map` that is `predicted` for an output.
fn pair(kind: Kind, map: &Tensor, target: &Tensor, predicted: &Predicted) -> Result<Option<[Drawn; 2]>, Error> {
    Ok(match kind {
        Kind::Labels => Some([Drawn::Labels(volume(&map.f_argmax(1, true)?, Dtype::Int16)?), Drawn::Labels(volume(target, Dtype::Int16)?)]),
        Kind::Regions => {
            let regions = map.size()[1];
            // The last channel of a target may be what is ignored.
            let on = [predicted.regions(map)?, target.f_narrow(1, 0, regions)?];
            let [prediction, target] = on.map(|on| volume(&painted(&on)?, Dtype::Int16));
            Some([Drawn::Labels(prediction?), Drawn::Labels(target?)])
        }
        Kind::Regression => Some([Drawn::Values(volume(map, Dtype::Float)?), Drawn::Values(volume(target, Dtype::Float)?)]),
        Kind::Class | Kind::Aux => None,
    })
}

/// The number of the last region at every voxel, from 1.
fn painted(on: &Tensor) -> Result<Tensor, Error> {
    let regions = on.size()[1];
    let numbers = Tensor::f_arange_start(1, regions + 1, (Dtype::Int16, on.device()))?;
    let mut shape = vec![1; on.dim()];
    shape[1] = regions;
    Ok(on.f_to_kind(Dtype::Int16)?.f_mul(&numbers.f_view(shape.as_slice())?)?.f_amax(1, true)?)
}

/// The first channel of the first sample, (1, Z, Y, X).
fn volume<T: tch::kind::Element + Copy>(tensor: &Tensor, kind: Dtype) -> Result<Volume<T>, Error>
where
    Vec<T>: TryFrom<Tensor, Error = tch::TchError>,
{
    let tensor = tensor.detach().f_narrow(0, 0, 1)?.f_narrow(1, 0, 1)?.f_to_device(Device::Cpu)?.f_to_kind(kind)?.f_contiguous()?;
    let size: Vec<usize> = tensor.size().iter().map(|size| *size as usize).collect();
    let shape = match size[..] {
        [_, _, y, x] => [1, 1, y, x],
        _ => [1, size[2], size[3], size[4]],
    };
    Ok(Volume::new(shape, Vec::try_from(tensor.f_view(-1)?)?))
}
