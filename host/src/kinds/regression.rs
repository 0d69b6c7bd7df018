//! Maps of real numbers. What lies outside the image has the value `pad` and is not believed; vectors turn with space.

use super::export::to_volume;
use super::levels::{arrays, coarsen};
use super::{Drawn, Exported, Frame, Kind, Levels, LoadError, Measurable, Memory, Prediction, Stored, TargetBatch, Told};
use data::dataset::{CaseTarget, Derived, Operation, Origin, clear_unknown, derive};
use data::kinds::{Case, Regression};
use data::measure::regression;
use imaging::Volume;
use imaging::augment::Recipe;
use imaging::io::{Geometry, Reader, write_image};
use std::path::Path;
use tch::{TchError, Tensor};

impl Kind for Regression {
    fn told(&self) -> Told {
        Told { kind: plugin_api::Kind::Regression, channels: self.channels, classes: Vec::new(), ignore: None }
    }

    fn values_per_voxel(&self) -> usize {
        self.channels
    }

    fn levels(&self, samples: usize, shapes: &[[usize; 3]]) -> Levels {
        Levels::Regression(arrays(samples, self.channels, shapes, 0.0))
    }

    fn load(&self, stored: &Stored, memory: &mut Memory, _: &mut Vec<i16>, out: &mut TargetBatch, index: usize) -> Result<bool, LoadError> {
        let Stored { name, case, recipe, spacing, .. } = *stored;
        if !memory.decode(|memory| case.read_map(name, recipe.source(), &mut memory.values).map_err(Box::new))? {
            return Ok(false);
        }
        let source = &memory.values;
        if source.channels() != self.channels {
            return Err(LoadError::Channels { found: source.channels(), expected: self.channels });
        }
        let levels = values(out);
        let slot = levels[0].slot(index);
        recipe.regression(source.view(), self.pad, slot);
        if self.vectors {
            recipe.turn_vectors(slot, spacing);
        }
        coarsen(levels, index);
        recipe.inside(out.mask(index));
        out.set_present(index, false);
        Ok(true)
    }

    fn derive(&self, operation: &Operation, recipe: &Recipe, origin: &Origin, memory: &mut Memory, out: &mut TargetBatch, index: usize) {
        recipe.inside(out.mask(index));
        let Levels::Regression(levels) = &mut out.levels else { unreachable!("the target has real numbers") };
        let (distances, mask) = (levels[0].slot(index), out.mask[0].slot(index));
        if derive(operation, origin, &mut memory.derive, Derived::Values(distances)) {
            clear_unknown(origin, Some(distances), &mut memory.derive, mask);
        } else {
            mask.fill(false);
        }
        coarsen(levels, index);
        out.set_present(index, false);
    }

    fn export_active(&self, active: &Tensor, frame: &Frame) -> Result<Exported, TchError> {
        let values = to_volume(&frame.dense(active)?)?;
        let values = if self.vectors { components_back(&values, frame.plans.transpose_backward) } else { values };
        Ok(Exported::alone(Prediction::Regression(frame.paste(&values, self.pad))))
    }

    fn write(&self, path: &Path, prediction: &Prediction, geometry: &Geometry) -> Result<(), imaging::io::Error> {
        write_image(path, exported(prediction), geometry)
    }

    fn measure(&self, measured: &Measurable, reference: &CaseTarget) -> Result<Option<Case>, data::measure::Error> {
        let Some(file) = reference.file() else { return Ok(None) };
        let reference = measured.reader.read_image(file)?.volume;
        Ok(Some(Case::Regression(regression::case_metrics(measured.files(file), exported(measured.prediction), &reference, None)?)))
    }

    fn measure_derived(
        &self,
        measured: &Measurable,
        operation: &Operation,
        origin: &Origin,
        file: &Path,
    ) -> Result<Option<Case>, data::measure::Error> {
        let prediction = exported(measured.prediction);
        let [z, y, x] = origin.spatial;
        let memory = &mut Default::default();
        let mut reference = Volume::filled([1, z, y, x], 0.0);
        if !derive(operation, origin, memory, Derived::Values(reference.data_mut())) {
            return Ok(None);
        }
        let mut valid = Volume::filled([1, z, y, x], true);
        clear_unknown(origin, Some(reference.data()), memory, valid.data_mut());
        Ok(Some(Case::Regression(regression::case_metrics(measured.files(file), prediction, &reference, Some(&valid))?)))
    }

    fn draw(&self, path: &Path, reader: Reader) -> Result<Option<Drawn>, imaging::io::Error> {
        Ok(Some(Drawn::Values(reader.read_image(path)?.volume)))
    }
}

fn values(target: &mut TargetBatch) -> &mut [super::Array<f32>] {
    let Levels::Regression(levels) = &mut target.levels else { unreachable!("the target has real numbers") };
    levels
}

fn exported(prediction: &Prediction) -> &Volume<f32> {
    let Prediction::Regression(values) = prediction else { unreachable!("regression exports real values") };
    values
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
