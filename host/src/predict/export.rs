//! From logits on the preprocessed grid to a prediction in the raw image's frame, and to its file.

use super::Error;
use crate::dataset::{Labels, TargetKind};
use crate::network::{self, Model};
use crate::plan::{Configuration, Plans};
use crate::preprocess::Properties;
use imaging::Volume;
use imaging::io::{Geometry, write_atomically, write_image, write_labels};
use imaging::resample::resample_image;
use indexmap::IndexMap;
use plugin_api::Outputs;
use std::path::Path;
use tch::Tensor;

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
    let mut resampled = Outputs::new();
    for (name, logits) in logits {
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
    let mut predictions = IndexMap::new();
    for (name, levels) in model.trainer.activate(&resampled)? {
        let (Some(active), Some(kind)) = (levels.first(), targets.get(&name)) else { continue };
        let active = active.f_to_device(tch::Device::Cpu)?;
        let dense = || if configuration.dims() == 2 { active.f_permute([1, 0, 2, 3]) } else { active.f_squeeze_dim(0) };
        let place = Placement { properties, plans };
        let prediction = match kind {
            TargetKind::Labels(labels) => Prediction::Labels(place.paste(&decide(&dense()?, labels)?, 0)),
            TargetKind::Regression { pad, .. } => Prediction::Regression(place.paste(&to_volume(&dense()?)?, *pad)),
            TargetKind::Class { .. } => Prediction::Class(Vec::try_from(active.f_squeeze_dim(0)?.f_to_kind(tch::Kind::Double)?)?),
        };
        predictions.insert(name, prediction);
    }
    Ok(predictions)
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

/// Labels of the most probable class; or regions painted in their order, later over earlier
/// (`label_handling.py`, `convert_probabilities_to_segmentation`).
fn decide(active: &Tensor, labels: &Labels) -> Result<Volume<i16>, network::Error> {
    let size = active.size();
    let shape = [1, size[1] as usize, size[2] as usize, size[3] as usize];
    // nnU-Net ignores an order where there are no regions.
    match labels.region_order.as_ref().filter(|_| labels.has_regions()) {
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
