//! From logits on the preprocessed grid to a prediction in the raw image's frame, and to its file.

use super::Error;
use crate::model::{self, Model};
use crate::network::output_kind;
use data::dataset::{Labels, TargetKind};
use data::kinds::{Class, Regression};
use data::plan::{Configuration, Plans};
use data::preprocess::Properties;
use imaging::io::{Geometry, write_atomically, write_image, write_labels};
use imaging::resample::{Rule, resample_argmax, resample_image, resample_regions};
use imaging::{Volume, VolumeView};
use indexmap::IndexMap;
use plugin_api::Outputs;
use plugin_api::manifest::ACTIVATE;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
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

/// What is made of an output.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// What is predicted.
    pub prediction: Prediction,
    /// Probability of every class, or region, of a label map (C, Z, Y, X), where it is [wanted](Extras).
    pub probabilities: Option<Volume<f32>>,
    /// A mask of every region (1, Z, Y, X), where they are wanted: in a label map later regions hide earlier ones.
    pub regions: IndexMap<String, Volume<i16>>,
}

/// What is made beside label maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Probabilities: all classes at the image's size at once.
    pub probabilities: bool,
    /// Masks of regions.
    pub regions: bool,
}

/// Plugins of which the log has said that they are asked for predictions.
static ASKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Turns logits into predictions, in the same way for every case of a model.
#[derive(Debug)]
pub struct Exporter<'a> {
    targets: &'a IndexMap<String, TargetKind>,
    plans: &'a Plans,
    configuration: &'a Configuration,
    extras: Extras,
    /// The plugin leaves activation as it is, so that it need not be asked.
    by_kind: bool,
}

impl<'a> Exporter<'a> {
    /// For `model`, whose outputs have these `targets`, and whose plugin keeps what it [says](Model::check_keeps).
    pub fn new(
        model: &Model,
        targets: &'a IndexMap<String, TargetKind>,
        plans: &'a Plans,
        configuration: &'a Configuration,
        extras: Extras,
    ) -> Self {
        let plugin = &model.trainer.identity().manifest;
        let by_kind = plugin.keeps(ACTIVATE);
        if !by_kind && ASKED.lock().unwrap_or_else(PoisonError::into_inner).insert(plugin.id.clone()) {
            log::info!(
                "plugin {} {} is asked for predictions, which takes memory for all classes at the size of the image: its manifest does not say that it \
                 keeps `activate`",
                plugin.id,
                plugin.version
            );
        }
        Self { targets, plans, configuration, extras, by_kind }
    }

    /// Whether [`Self::export_without_plugin`] can be called, from any thread.
    pub fn needs_no_plugin(&self) -> bool {
        self.by_kind
    }

    /// Turns the `logits` of every output into predictions. `model` is what the exporter is for.
    ///
    /// Label maps are made in small pieces, so that logits of many classes are never held at the image's size, unless the plugin has an
    /// activation of its own or probabilities are wanted.
    pub fn export(
        &self,
        model: &Model,
        logits: IndexMap<String, Tensor>,
        properties: &Properties,
    ) -> Result<IndexMap<String, Exported>, model::Error> {
        if self.by_kind {
            return self.export_without_plugin(logits, properties);
        }
        let device = model.parameters.device();
        let mut resampled = Outputs::new();
        for (name, logits) in logits {
            resampled.push(&name, self.resampled(&logits, properties)?.f_to_device(device)?);
        }
        let mut exported = IndexMap::new();
        for (name, levels) in model.trainer.activate(&resampled)? {
            let (Some(active), Some(kind)) = (levels.first(), self.targets.get(&name)) else { continue };
            exported.insert(name, self.finish(&active.f_to_device(tch::Device::Cpu)?, kind, properties)?);
        }
        Ok(exported)
    }

    /// The same where the plugin [need not be asked](Self::needs_no_plugin).
    pub fn export_without_plugin(
        &self,
        logits: IndexMap<String, Tensor>,
        properties: &Properties,
    ) -> Result<IndexMap<String, Exported>, model::Error> {
        let mut exported = IndexMap::new();
        for (name, logits) in logits {
            let Some(kind) = self.targets.get(&name) else { continue };
            let done = match kind {
                TargetKind::Labels(labels) if !self.extras.probabilities => self.stream(&logits, labels, properties)?,
                _ => {
                    let active = output_kind(kind).activate(&self.resampled(&logits, properties)?)?;
                    self.finish(&active, kind, properties)?
                }
            };
            exported.insert(name, done);
        }
        Ok(exported)
    }

    /// A label map in small pieces: what is largest, or above one half, already is so among the logits.
    fn stream(&self, logits: &Tensor, labels: &Labels, properties: &Properties) -> Result<Exported, model::Error> {
        let (planned, spacing, rule) = self.spacings(properties);
        let (volume, shape) = (to_volume(logits)?, properties.shape_after_crop);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let map = match region_order(labels) {
            Some(order) => resample_regions(volume.view(), shape, planned, spacing, rule, order, threads),
            None => resample_argmax(
                volume.view(),
                shape,
                planned,
                spacing,
                rule,
                &labels.values().iter().map(|value| labels.predicted(*value)).collect::<Vec<_>>(),
                threads,
            ),
        };
        let mut regions = IndexMap::new();
        for (channel, name) in self.wanted_regions(labels).into_iter().enumerate() {
            let view = VolumeView { shape: [1, volume.shape()[1], volume.shape()[2], volume.shape()[3]], data: volume.channel(channel) };
            let mask = resample_regions(view, shape, planned, spacing, rule, &[1], threads);
            regions.insert(name, self.paste(&mask, 0, properties));
        }
        Ok(Exported { prediction: Prediction::Labels(self.paste(&map, 0, properties)), probabilities: None, regions })
    }

    /// Spacing of the plans and of the raw image along transposed axes, and how logits are resampled.
    fn spacings(&self, properties: &Properties) -> ([f64; 3], [f64; 3], Rule) {
        let spacing = self.plans.transpose_forward.map(|axis| properties.spacing[axis]);
        (self.configuration.spacing_zyx(spacing[0]), spacing, self.configuration.logit_rule())
    }

    /// Logits at the raw spacing, in the shapes that the plugin knows: (1, C, Z, Y, X), or (Z, C, Y, X) from a 2D network; (1, C).
    fn resampled(&self, logits: &Tensor, properties: &Properties) -> Result<Tensor, model::Error> {
        if logits.dim() == 1 {
            return Ok(logits.f_unsqueeze(0)?);
        }
        let (planned, spacing, rule) = self.spacings(properties);
        let volume = resample_image(&to_volume(logits)?, properties.shape_after_crop, planned, spacing, rule);
        let shape = volume.shape().map(|size| size as i64);
        let tensor = Tensor::f_from_slice(volume.data())?.f_view(shape.as_slice())?;
        Ok(if self.configuration.dims() == 2 { tensor.f_permute([1, 0, 2, 3])? } else { tensor.f_unsqueeze(0)? })
    }

    /// What is predicted, from activated logits in the plugin's shapes.
    fn finish(&self, active: &Tensor, kind: &TargetKind, properties: &Properties) -> Result<Exported, model::Error> {
        let dense = || if self.configuration.dims() == 2 { active.f_permute([1, 0, 2, 3]) } else { active.f_squeeze_dim(0) };
        let (mut probabilities, mut regions) = (None, IndexMap::new());
        let prediction = match kind {
            TargetKind::Labels(labels) => {
                let active = dense()?;
                let volume = to_volume(&active)?;
                for (channel, name) in self.wanted_regions(labels).into_iter().enumerate() {
                    let mask = volume.channel(channel).iter().map(|value| i16::from(*value > 0.5)).collect();
                    let mask = Volume::new([1, volume.shape()[1], volume.shape()[2], volume.shape()[3]], mask);
                    regions.insert(name, self.paste(&mask, 0, properties));
                }
                let map = self.paste(&decide(&active, labels)?, 0, properties);
                probabilities = self.extras.probabilities.then(|| self.paste_probabilities(&volume, labels, properties));
                Prediction::Labels(map)
            }
            TargetKind::Regression(Regression { pad, vectors, .. }) => {
                let values = to_volume(&dense()?)?;
                let values = if *vectors { components_back(&values, self.plans.transpose_backward) } else { values };
                Prediction::Regression(self.paste(&values, *pad, properties))
            }
            TargetKind::Class(_) => Prediction::Class(Vec::try_from(active.f_squeeze_dim(0)?.f_to_kind(tch::Kind::Double)?)?),
        };
        Ok(Exported { prediction, probabilities, regions })
    }

    /// Names of the regions of `labels`, in the order of channels, where masks of them are wanted.
    fn wanted_regions(&self, labels: &Labels) -> Vec<String> {
        let wanted = self.extras.regions && labels.has_regions();
        if wanted { labels.foreground().into_iter().map(|(name, _)| name).collect() } else { Vec::new() }
    }

    /// Puts what was predicted for the cropped image where that lay in the raw one.
    fn paste<T: Copy>(&self, volume: &Volume<T>, fill: T, properties: &Properties) -> Volume<T> {
        let transposed = self.plans.transpose_forward.map(|axis| properties.shape[axis]);
        volume.uncrop(&properties.bbox, transposed, fill).transpose(self.plans.transpose_backward)
    }

    /// The same; outside there is background for sure, which regions have no channel for.
    fn paste_probabilities(&self, volume: &Volume<f32>, labels: &Labels, properties: &Properties) -> Volume<f32> {
        let mut pasted = self.paste(volume, 0.0, properties);
        if !labels.has_regions() {
            let [_, z, y, x] = volume.shape();
            let background = self.paste(&Volume::new([1, z, y, x], volume.channel(0).to_vec()), 1.0, properties);
            pasted.channel_mut(0).copy_from_slice(background.data());
        }
        pasted
    }
}

/// Components (z, y, x) along the axes of the raw image, from those along the transposed ones, of which vectors in a slice lack the first: it is 0.
fn components_back(values: &Volume<f32>, transpose_backward: [usize; 3]) -> Volume<f32> {
    let [channels, z, y, x] = values.shape();
    let nothing = vec![0.0; if channels == 2 { z * y * x } else { 0 }];
    let component = |axis: usize| match (channels, axis) {
        (2, 0) => &nothing[..],
        (2, axis) => values.channel(axis - 1),
        (_, axis) => values.channel(axis),
    };
    Volume::new([3, z, y, x], transpose_backward.map(component).concat())
}

/// Writes a prediction to `path`; a class as JSON with one probability a name.
pub fn write(path: &Path, prediction: &Prediction, kind: &TargetKind, geometry: &Geometry) -> Result<(), Error> {
    match (prediction, kind) {
        (Prediction::Labels(labels), _) => write_labels(path, labels, geometry)?,
        (Prediction::Regression(values), _) => write_image(path, values, geometry)?,
        (Prediction::Class(scores), TargetKind::Class(Class { classes })) => {
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

/// The most probable class; or regions painted in their order, later over earlier
/// (`label_handling.py`, `convert_probabilities_to_segmentation`).
fn decide(active: &Tensor, labels: &Labels) -> Result<Volume<i16>, model::Error> {
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
            let class = Vec::<i64>::try_from(active.f_argmax(0, false)?.f_contiguous()?.f_view(-1)?)?;
            Ok(Volume::new(shape, class.into_iter().map(|class| class as i16).collect()))
        }
    }
}

fn to_volume(tensor: &Tensor) -> Result<Volume<f32>, model::Error> {
    let size = tensor.size();
    let shape = std::array::from_fn(|axis| size[axis] as usize);
    Ok(Volume::new(shape, Vec::<f32>::try_from(tensor.f_contiguous()?.f_view(-1)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_of_regions_counts_only_where_there_are_regions() {
        let labels = |second: Vec<i16>| Labels {
            names: IndexMap::from([("background".to_owned(), vec![0]), ("one".to_owned(), vec![1]), ("more".to_owned(), second)]),
            region_order: Some(vec![1, 2]),
            ..Labels::default()
        };
        // Plain labels: three channels, the largest wins. Regions: two channels, later ones are painted over earlier ones.
        let plain = Tensor::from_slice(&[0.6f32, 0.1, 0.3, 0.2, 0.1, 0.7]).view([3, 1, 1, 2]);
        assert_eq!(decide(&plain, &labels(vec![2])).unwrap().data(), [0, 2]);
        let regions = Tensor::from_slice(&[0.9f32, 0.9, 0.2, 0.8]).view([2, 1, 1, 2]);
        assert_eq!(decide(&regions, &labels(vec![1, 2])).unwrap().data(), [1, 2]);
    }
}
