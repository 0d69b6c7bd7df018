//! From logits on the preprocessed grid to a prediction in the raw image's frame, and to its file.

use super::Error;
use crate::dataset::{Labels, TargetKind};
use crate::network::{self, Model};
use crate::plan::{Configuration, Plans};
use crate::preprocess::Properties;
use imaging::Volume;
use imaging::io::{Geometry, write_atomically, write_image, write_labels};
use imaging::resample::{resample_argmax, resample_image, resample_regions};
use indexmap::IndexMap;
use plugin_api::{Kind, Outputs};
use std::path::Path;
use tch::{Kind::Float, Tensor};

/// What is predicted for one output, in the raw image's frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Prediction {
    /// A label map (1, Z, Y, X).
    Labels(Volume<i16>),
    /// Real values (C, Z, Y, X).
    Regression(Volume<f32>),
    /// Probability of every class.
    Class(Vec<f64>),
}

/// Turns `logits` of every output into predictions. `targets` says what each output's target is.
///
/// Label maps are made in small pieces, so that logits of many classes are never held at the image's size, unless the plugin has an
/// activation of its own.
pub fn export(
    model: &Model,
    logits: IndexMap<String, Tensor>,
    targets: &IndexMap<String, TargetKind>,
    properties: &Properties,
    plans: &Plans,
    configuration: &Configuration,
) -> Result<IndexMap<String, Prediction>, network::Error> {
    let spacing = plans.transpose_forward.map(|axis| properties.spacing[axis]);
    let planned = configuration.spacing_zyx(spacing[0]);
    let rule = configuration.resampling_fn_probabilities_kwargs.rule();
    let place = Placement { properties, plans };
    let streams = activates_by_kind(model, configuration.dims())?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut predictions = IndexMap::new();
    let mut resampled = Outputs::new();
    for (name, logits) in logits {
        if let Some(TargetKind::Labels(labels)) = targets.get(&name).filter(|_| streams) {
            let (volume, shape) = (to_volume(&logits)?, properties.shape_after_crop);
            let map = match region_order(labels) {
                Some(order) => resample_regions(volume.view(), shape, planned, spacing, rule, order, threads),
                None => resample_argmax(volume.view(), shape, planned, spacing, rule, &labels.values(), threads),
            };
            predictions.insert(name, Prediction::Labels(place.paste(&map, 0)));
            continue;
        }
        if logits.dim() == 1 {
            resampled.push(&name, logits.f_unsqueeze(0)?);
            continue;
        }
        let volume = resample_image(&to_volume(&logits)?, properties.shape_after_crop, planned, spacing, rule);
        let shape = volume.shape().map(|size| size as i64);
        let tensor = Tensor::f_from_slice(volume.data())?.f_view(shape.as_slice())?;
        // The shapes that the plugin knows: (1, C, Z, Y, X), or (Z, C, Y, X) from a 2D network.
        let tensor = if configuration.dims() == 2 { tensor.f_permute([1, 0, 2, 3])? } else { tensor.f_unsqueeze(0)? };
        resampled.push(&name, tensor.f_to_device(model.parameters.device())?);
    }
    if resampled.iter().next().is_none() {
        return Ok(predictions);
    }
    for (name, levels) in model.trainer.activate(&resampled)? {
        let (Some(active), Some(kind)) = (levels.first(), targets.get(&name)) else { continue };
        let active = active.f_to_device(tch::Device::Cpu)?;
        let dense = || if configuration.dims() == 2 { active.f_permute([1, 0, 2, 3]) } else { active.f_squeeze_dim(0) };
        let prediction = match kind {
            TargetKind::Labels(labels) => Prediction::Labels(place.paste(&decide(&dense()?, labels)?, 0)),
            TargetKind::Regression { pad, vectors, .. } => {
                let values = to_volume(&dense()?)?;
                let values = if *vectors { components_back(&values, plans.transpose_backward) } else { values };
                Prediction::Regression(place.paste(&values, *pad))
            }
            TargetKind::Class { .. } => Prediction::Class(Vec::try_from(active.f_squeeze_dim(0)?.f_to_kind(tch::Kind::Double)?)?),
        };
        predictions.insert(name, prediction);
    }
    Ok(predictions)
}

/// Outputs whose channels are components of vectors.
pub fn vector_outputs(targets: &IndexMap<String, TargetKind>) -> Vec<String> {
    let is_vectors = |kind: &TargetKind| matches!(kind, TargetKind::Regression { vectors: true, .. });
    targets.iter().filter(|(_, kind)| is_vectors(kind)).map(|(name, _)| name.clone()).collect()
}

/// Components along the axes of the raw image, from those along the transposed ones.
fn components_back(values: &Volume<f32>, transpose_backward: [usize; 3]) -> Volume<f32> {
    let components: Vec<&[f32]> = transpose_backward.iter().map(|axis| values.channel(*axis)).collect();
    Volume::new(values.shape(), components.concat())
}

/// Writes a prediction to `path`; a class as JSON with one probability a name.
pub fn write(path: &Path, prediction: &Prediction, kind: &TargetKind, geometry: &Geometry) -> Result<(), Error> {
    match (prediction, kind) {
        (Prediction::Labels(labels), _) => write_labels(path, labels, geometry)?,
        (Prediction::Regression(values), _) => write_image(path, values, geometry)?,
        (Prediction::Class(scores), TargetKind::Class { classes }) => {
            let named: IndexMap<&String, &f64> = classes.iter().zip(scores).collect();
            let text = serde_json::to_string_pretty(&named).map_err(|e| Error::Target { path: path.to_owned(), reason: e.to_string() })?;
            write_atomically(path, |file| file.write_all(text.as_bytes()))?;
        }
        (Prediction::Class(_), _) => {
            return Err(Error::Target { path: path.to_owned(), reason: "image-level scores for a target that is no class".to_owned() });
        }
    }
    Ok(())
}

/// The order in which regions are painted; nnU-Net ignores one where there are no regions.
fn region_order(labels: &Labels) -> Option<&[i16]> {
    labels.region_order.as_deref().filter(|_| labels.has_regions())
}

/// Whether the plugin's activations are softmax and sigmoid, which do not change what is largest or above one half: told by what it makes of
/// a few numbers.
fn activates_by_kind(model: &Model, dims: usize) -> Result<bool, network::Error> {
    let outputs = model.trainer.outputs().iter().filter(|output| output.kind != Kind::Aux);
    let (mut logits, mut expected) = (Outputs::new(), Outputs::new());
    for output in outputs {
        let mut shape = vec![1, output.channels];
        shape.resize(if output.kind == Kind::Class { 2 } else { 2 + dims }, 3);
        let count = shape.iter().product::<i64>();
        let numbers = Tensor::f_arange(count, (Float, model.parameters.device()))?.f_mul_scalar(1.7)?.f_sin()?.f_mul_scalar(4.0)?;
        let numbers = numbers.f_view(shape.as_slice())?;
        let active = match output.kind {
            Kind::Labels | Kind::Class => numbers.f_softmax(1, Float)?,
            Kind::Regions => numbers.f_sigmoid()?,
            _ => numbers.shallow_clone(),
        };
        logits.push(&output.name, numbers);
        expected.push(&output.name, active);
    }
    let active = model.trainer.activate(&logits)?;
    for (name, levels) in expected.iter() {
        let same =
            active.get(name).ok().and_then(|levels| levels.first()).is_some_and(|level| level.allclose(&levels[0], 1e-5, 1e-6, false));
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Labels of the most probable class; or regions painted in their order, later over earlier
/// (`label_handling.py`, `convert_probabilities_to_segmentation`).
fn decide(active: &Tensor, labels: &Labels) -> Result<Volume<i16>, network::Error> {
    let size = active.size();
    let shape = [1, size[1] as usize, size[2] as usize, size[3] as usize];
    match region_order(labels) {
        Some(order) => {
            let on = to_volume(active)?;
            let mut painted = Volume::filled(shape, 0i16);
            for (region, label) in order.iter().enumerate().take(on.channels()) {
                for (painted, on) in painted.data_mut().iter_mut().zip(on.channel(region)) {
                    if *on > 0.5 {
                        *painted = *label;
                    }
                }
            }
            Ok(painted)
        }
        None => {
            let values = labels.values();
            let class = Vec::<i64>::try_from(active.f_argmax(0, false)?.f_contiguous()?.f_view(-1)?)?;
            Ok(Volume::new(shape, class.into_iter().map(|class| values.get(class as usize).copied().unwrap_or(0)).collect()))
        }
    }
}

fn to_volume(tensor: &Tensor) -> Result<Volume<f32>, network::Error> {
    let size = tensor.size();
    let shape = std::array::from_fn(|axis| size[axis] as usize);
    Ok(Volume::new(shape, Vec::<f32>::try_from(tensor.f_contiguous()?.f_view(-1)?)?))
}

/// Where the cropped image lies in the raw one.
struct Placement<'a> {
    properties: &'a Properties,
    plans: &'a Plans,
}

impl Placement<'_> {
    fn paste<T: Copy>(&self, volume: &Volume<T>, fill: T) -> Volume<T> {
        let transposed = self.plans.transpose_forward.map(|axis| self.properties.shape[axis]);
        volume.uncrop(&self.properties.bbox, transposed, fill).transpose(self.plans.transpose_backward)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_of_regions_counts_only_where_there_are_regions() {
        let labels = |second: Vec<i16>| Labels {
            names: IndexMap::from([("background".to_owned(), vec![0]), ("one".to_owned(), vec![1]), ("more".to_owned(), second)]),
            ignore: None,
            region_order: Some(vec![1, 2]),
        };
        // Plain labels: three channels, the largest wins. Regions: two channels, later ones are painted over earlier ones.
        let plain = Tensor::from_slice(&[0.6f32, 0.1, 0.3, 0.2, 0.1, 0.7]).view([3, 1, 1, 2]);
        assert_eq!(decide(&plain, &labels(vec![2])).unwrap().data(), [0, 2]);
        let regions = Tensor::from_slice(&[0.9f32, 0.9, 0.2, 0.8]).view([2, 1, 1, 2]);
        assert_eq!(decide(&regions, &labels(vec![1, 2])).unwrap().data(), [1, 2]);
    }
}
