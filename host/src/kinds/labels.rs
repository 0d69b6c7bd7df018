//! Label maps. Classes become one map of labels, regions a channel each; the ignore label is kept, and what lies outside is background.

use super::export::to_volume;
use super::levels::arrays;
use super::{Drawn, Exported, Frame, Kind, Levels, LoadError, Measurable, Memory, Prediction, Stored, TargetBatch, Told};
use data::dataset::{CaseTarget, Derived, Operation, Origin, clear_unknown, derive};
use data::kinds::{Case, Labels};
use data::measure::{Files, TOLERANCE, segmentation};
use imaging::augment::Recipe;
use imaging::io::{Geometry, Reader, write_labels};
use imaging::resample::{resample_argmax, resample_regions};
use imaging::{Volume, VolumeView};
use indexmap::IndexMap;
use std::path::Path;
use tch::{TchError, Tensor};

impl Kind for Labels {
    fn told(&self) -> Told {
        let kind = if self.has_regions() { plugin_api::Kind::Regions } else { plugin_api::Kind::Labels };
        let classes = self.foreground().into_iter().map(|(name, _)| name).collect();
        Told { kind, channels: self.channels(), classes, ignore: self.ignore.map(i64::from) }
    }

    fn values_per_voxel(&self) -> usize {
        self.target_channels()
    }

    fn levels(&self, samples: usize, shapes: &[[usize; 3]]) -> Levels {
        match self.has_regions() {
            true => Levels::Regions(arrays(samples, self.target_channels(), shapes, false)),
            false => Levels::Labels(arrays(samples, 1, shapes, 0)),
        }
    }

    fn load(
        &self,
        stored: &Stored,
        memory: &mut Memory,
        patch: &mut Vec<i16>,
        out: &mut TargetBatch,
        index: usize,
    ) -> Result<bool, LoadError> {
        let Stored { name, case, recipe, voxels, .. } = *stored;
        if !memory.decode(|memory| case.read_labels(name, recipe.source(), &mut memory.labels).map_err(Box::new))? {
            return Ok(false);
        }
        patch.resize(voxels, 0);
        recipe.labels(memory.labels.view(), patch, &mut memory.scratch);
        put(out, self, index, patch);
        out.set_present(index, true);
        Ok(true)
    }

    fn derive(&self, operation: &Operation, recipe: &Recipe, origin: &Origin, memory: &mut Memory, out: &mut TargetBatch, index: usize) {
        recipe.inside(out.mask(index));
        let labels = &mut memory.derived;
        labels.resize(origin.labels.len(), 0);
        derive(operation, origin, &mut memory.derive, Derived::Labels(labels));
        clear_unknown(origin, None, &mut memory.derive, out.mask(index));
        put(out, self, index, labels);
        out.set_present(index, false);
    }

    /// In small pieces, unless probabilities are wanted, so that logits of many classes are never held at the image's size: what is largest, or
    /// above one half, already is so among the logits.
    fn export(&self, logits: &Tensor, frame: &Frame) -> Result<Exported, TchError> {
        if frame.extras.probabilities {
            return self.export_whole(logits, frame);
        }
        let (planned, spacing, rule) = frame.spacings();
        let (volume, shape) = (to_volume(logits)?, frame.properties.shape_after_crop);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let map = match region_order(self) {
            Some(order) => resample_regions(volume.view(), shape, planned, spacing, rule, order, threads),
            None => {
                let labels: Vec<i16> = self.values().iter().map(|value| self.predicted(*value)).collect();
                resample_argmax(volume.view(), shape, planned, spacing, rule, &labels, threads)
            }
        };
        let mut regions = IndexMap::new();
        for (channel, name) in wanted_regions(self, frame).into_iter().enumerate() {
            let view = VolumeView { shape: [1, volume.shape()[1], volume.shape()[2], volume.shape()[3]], data: volume.channel(channel) };
            let mask = resample_regions(view, shape, planned, spacing, rule, &[1], threads);
            regions.insert(name, frame.paste(&mask, 0));
        }
        Ok(Exported { prediction: Prediction::Labels(frame.paste(&map, 0)), probabilities: None, regions })
    }

    fn export_active(&self, active: &Tensor, frame: &Frame) -> Result<Exported, TchError> {
        let active = frame.dense(active)?;
        let volume = to_volume(&active)?;
        let mut regions = IndexMap::new();
        for (channel, name) in wanted_regions(self, frame).into_iter().enumerate() {
            let mask = volume.channel(channel).iter().map(|value| i16::from(*value > 0.5)).collect();
            let mask = Volume::new([1, volume.shape()[1], volume.shape()[2], volume.shape()[3]], mask);
            regions.insert(name, frame.paste(&mask, 0));
        }
        let prediction = Prediction::Labels(frame.paste(&decide(&active, self)?, 0));
        let probabilities = frame.extras.probabilities.then(|| paste_probabilities(&volume, self, frame));
        Ok(Exported { prediction, probabilities, regions })
    }

    fn write(&self, path: &Path, prediction: &Prediction, geometry: &Geometry) -> Result<(), imaging::io::Error> {
        write_labels(path, exported(prediction), geometry)
    }

    fn measure(&self, measured: &Measurable, reference: &CaseTarget) -> Result<Option<Case>, data::measure::Error> {
        let Some(file) = reference.file() else { return Ok(None) };
        let reference = measured.reader.read_labels(file)?;
        let spacing = reference.geometry.spacing();
        compare(self, measured.files(file), measured, &reference.volume, self.ignore, spacing).map(Some)
    }

    fn measure_derived(
        &self,
        measured: &Measurable,
        operation: &Operation,
        origin: &Origin,
        file: &Path,
    ) -> Result<Option<Case>, data::measure::Error> {
        /// No derived label.
        const IGNORED: i16 = i16::MAX;
        let ([z, y, x], memory) = (origin.spatial, &mut Default::default());
        let mut reference = Volume::filled([1, z, y, x], 0);
        let mut valid = vec![true; z * y * x];
        derive(operation, origin, memory, Derived::Labels(reference.data_mut()));
        clear_unknown(origin, None, memory, &mut valid);
        reference.data_mut().iter_mut().zip(&valid).filter(|(_, valid)| !**valid).for_each(|(label, _)| *label = IGNORED);
        compare(self, measured.files(file), measured, &reference, Some(IGNORED), origin.spacing).map(Some)
    }

    fn draw(&self, path: &Path, reader: Reader) -> Result<Option<Drawn>, imaging::io::Error> {
        Ok(Some(Drawn::Labels(reader.read_labels(path)?.volume)))
    }
}

/// Sets sample `index` to the patch `labels` of a label map, in which -1 is what lies outside.
pub(super) fn put(target: &mut TargetBatch, kind: &Labels, index: usize, labels: &[i16]) {
    match &mut target.levels {
        Levels::Labels(levels) => {
            levels[0].slot(index).iter_mut().zip(labels).for_each(|(out, label)| *out = (*label).max(0));
        }
        Levels::Regions(levels) => {
            let slot = levels[0].slot(index);
            for (channel, region) in slot.chunks_exact_mut(labels.len()).zip(region_channels(kind)) {
                channel.iter_mut().zip(labels).for_each(|(out, label)| *out = region.contains(&(*label).max(0)));
            }
        }
        Levels::Regression(_) | Levels::Class(_) => unreachable!("the target has labels"),
    }
    target.levels.coarsen(index);
}

/// The label values of every region channel, the ignore label last.
fn region_channels(labels: &Labels) -> Vec<Vec<i16>> {
    let regions = labels.foreground().into_iter().map(|(_, values)| values);
    regions.chain(labels.ignore.map(|ignore| vec![ignore])).collect()
}

fn exported(prediction: &Prediction) -> &Volume<i16> {
    let Prediction::Labels(labels) = prediction else { unreachable!("a label map is exported") };
    labels
}

fn compare(
    kind: &Labels,
    files: Files,
    measured: &Measurable,
    reference: &Volume<i16>,
    ignore: Option<i16>,
    spacing: [f64; 3],
) -> Result<Case, data::measure::Error> {
    let (prediction, foreground, scale) = (exported(measured.prediction), kind.foreground(), Some((spacing, TOLERANCE)));
    Ok(Case::Labels(segmentation::case_metrics(files, prediction, reference, &foreground, ignore, scale)?))
}

/// Names of the regions of `labels`, in the order of channels, where masks of them are wanted.
fn wanted_regions(labels: &Labels, frame: &Frame) -> Vec<String> {
    let wanted = frame.extras.regions && labels.has_regions();
    if wanted { labels.foreground().into_iter().map(|(name, _)| name).collect() } else { Vec::new() }
}

/// Probabilities in the raw image; outside there is background for sure, which regions have no channel for.
fn paste_probabilities(volume: &Volume<f32>, labels: &Labels, frame: &Frame) -> Volume<f32> {
    let mut pasted = frame.paste(volume, 0.0);
    if !labels.has_regions() {
        let [_, z, y, x] = volume.shape();
        let background = frame.paste(&Volume::new([1, z, y, x], volume.channel(0).to_vec()), 1.0);
        pasted.channel_mut(0).copy_from_slice(background.data());
    }
    pasted
}

/// The order in which regions are painted; nnU-Net ignores one where there are no regions.
fn region_order(labels: &Labels) -> Option<&[i16]> {
    labels.region_order.as_deref().filter(|_| labels.has_regions())
}

/// The most probable class; or regions painted in their order, later over earlier
/// (`label_handling.py`, `convert_probabilities_to_segmentation`).
fn decide(active: &Tensor, labels: &Labels) -> Result<Volume<i16>, TchError> {
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
