//! Plans from a fingerprint, by the rules of nnU-Net's planners (`default_experiment_planner.py`,
//! `residual_encoder_unet_planners.py`), constant by constant.
//!
//! `2d` and `3d_fullres` share a spacing; where a patch of `3d_fullres` sees little of an image, `3d_lowres` is planned for a coarser
//! one, and `3d_cascade_fullres` refines its predictions. Each gets the largest patch and network that fit the memory.

use crate::name::Name;
use imaging::io::Reader;
use imaging::normalise::Normalisation;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::configuration::NextStage;
use super::fit::{Budget, Fit};
use super::resampling::SPLINES;
use super::spacing::FullRes;
use super::{Configuration, Error, PlanOptions, PlannerKind, Plans, Resampling};
use crate::dataset::Description;
use crate::fingerprint::Fingerprint;
use crate::numpy::{median, per_axis};

const MIN_BATCH_SIZE: f64 = 2.0;
/// Below this ratio of patch to image nnU-Net plans a low-resolution configuration.
const LOWRES_THRESHOLD: f64 = 0.25;
const LOWRES_SPACING_FACTOR: f64 = 1.03;

/// Plans for the data set `dataset_name`, whose images are read by `reader`.
///
/// # Errors
/// When an option makes no sense, the fingerprint is empty or has sizes that cannot be, or no network fits the memory.
pub fn plan(
    fingerprint: &Fingerprint,
    description: &Description,
    dataset_name: &Name,
    reader: Reader,
    options: &PlanOptions,
) -> Result<Plans, Error> {
    options.check()?;
    let full_res = FullRes::new(fingerprint, options.spacing)?;
    let FullRes { spacing, median_shape, transpose_forward, transpose_backward } = full_res;
    let planner = Planner { fingerprint, description, options };

    let mut configurations = IndexMap::new();
    let flat = planner.configuration("2d", &spacing[1..], &median_shape[1..], median_shape, true)?;
    configurations.insert(Name::known("2d"), object(&flat));
    if median_shape[0] != 1.0 {
        let mut full = planner.configuration("3d_fullres", &spacing, &median_shape, median_shape, false)?;
        let low = planner.low_resolution(&full, median_shape)?;
        full.batch_dice = low.is_some();
        if let Some(low) = &low {
            let mut low = object(low);
            // The one configuration whose size nnU-Net rounds.
            if let Some(Value::Array(sizes)) = low.get_mut("median_image_size_in_voxels") {
                sizes.iter_mut().for_each(|size| *size = json!(size.as_f64().unwrap_or_default() as u64));
            }
            configurations.insert(Name::known("3d_lowres"), low);
        }
        configurations.insert(Name::known("3d_fullres"), object(&full));
        if low.is_some() {
            let mut cascade = Map::new();
            cascade.insert("inherits_from".to_owned(), "3d_fullres".into());
            cascade.insert("previous_stage".to_owned(), "3d_lowres".into());
            configurations.insert(Name::known("3d_cascade_fullres"), cascade);
        }
    }
    let sizes: Vec<[f64; 3]> = fingerprint.shapes_after_crop.iter().map(|shape| shape.map(|size| size as f64)).collect();
    Ok(Plans {
        dataset_name: dataset_name.clone(),
        plans_name: options.plans_name(),
        original_median_spacing_after_transp: full_res.transpose(per_axis(&fingerprint.spacings, median)).to_vec(),
        original_median_shape_after_transp: full_res
            .transpose(per_axis(&sizes, median))
            .map(|size| size.round_ties_even() as usize)
            .to_vec(),
        image_reader_writer: reader.name().to_owned(),
        transpose_forward,
        transpose_backward,
        configurations,
        experiment_planner_used: options.planner.class_name().to_owned(),
        label_manager: "LabelManager".to_owned(),
        foreground_intensity_properties_per_channel: fingerprint.foreground_intensity_properties_per_channel.clone(),
        extra: Map::new(),
    })
}

struct Planner<'a> {
    fingerprint: &'a Fingerprint,
    description: &'a Description,
    options: &'a PlanOptions,
}

impl Planner<'_> {
    /// The configuration `name` for images of `median_shape` voxels; in 3D all cases together have `size` as their median.
    fn configuration(
        &self,
        name: &str,
        spacing: &[f64],
        median_shape: &[f64],
        size: [f64; 3],
        batch_dice: bool,
    ) -> Result<Configuration, Error> {
        let fit = Budget::new(self.options, spacing.len()).fit(spacing, median_shape, self.num_label_names())?;
        Ok(self.describe(name, spacing, median_shape, size, batch_dice, fit))
    }

    fn describe(&self, name: &str, spacing: &[f64], median_shape: &[f64], size: [f64; 3], batch_dice: bool, fit: Fit) -> Configuration {
        let patch_voxels = fit.patch.iter().product::<usize>() as f64;
        let dataset_voxels = size.iter().product::<f64>() * self.description.num_training as f64;
        let by_dataset = (dataset_voxels * self.options.planner.preset().max_dataset_covered / patch_voxels).round_ties_even();
        let channels = self.description.channel_names.iter();
        let schemes: Vec<Normalisation> = channels.map(|channel| Normalisation::from_channel_name(channel)).collect();
        let masked = self.fingerprint.median_relative_size_after_cropping < 3.0 / 4.0;
        Configuration {
            data_identifier: self.data_identifier(name),
            preprocessor_name: "DefaultPreprocessor".to_owned(),
            batch_size: fit.batch_size.min(by_dataset).max(MIN_BATCH_SIZE) as usize,
            patch_size: fit.patch.clone(),
            median_image_size_in_voxels: median_shape.to_vec(),
            spacing: spacing.to_vec(),
            normalization_schemes: schemes.iter().map(|scheme| scheme.plans_name().to_owned()).collect(),
            use_mask_for_norm: schemes.iter().map(|scheme| masked && matches!(scheme, Normalisation::ZScore)).collect(),
            resampling_fn_data: SPLINES.to_owned(),
            resampling_fn_seg: SPLINES.to_owned(),
            resampling_fn_data_kwargs: resampling(false, 3),
            resampling_fn_seg_kwargs: resampling(true, 1),
            resampling_fn_probabilities: SPLINES.to_owned(),
            resampling_fn_probabilities_kwargs: resampling(false, 1),
            architecture: self.options.planner.preset().unet.architecture(fit.patch.len(), fit.stages),
            batch_dice,
            next_stage: None,
            previous_stage: None,
            extra: Map::new(),
        }
    }

    /// Entries of `labels`, the ignore label included: what nnU-Net takes for the number of classes here.
    fn num_label_names(&self) -> usize {
        let labels = self.description.segmentation();
        labels.names.len() + usize::from(labels.ignore.is_some())
    }

    /// Which preprocessed data the configuration `name` uses.
    fn data_identifier(&self, name: &str) -> Name {
        let same_data = self.options.planner.preset().shares_data && name != "3d_lowres";
        let plans = if same_data { Name::known(PlannerKind::default().plans_name()) } else { self.options.plans_name() };
        Name::known(format!("{plans}_{name}"))
    }

    /// `3d_lowres`: images are made coarser until a patch sees a quarter of one. `None` when a patch of `full` does, or when the
    /// images would keep more than half of their voxels.
    fn low_resolution(&self, full: &Configuration, median_shape: [f64; 3]) -> Result<Option<Configuration>, Error> {
        let budget = Budget::new(self.options, 3);
        let full_voxels = median_shape.iter().product::<f64>();
        let mut spacing = full.spacing.clone();
        let mut shape = median_shape;
        let mut voxels = full_voxels;
        let mut patch_voxels = full.patch_size.iter().product::<usize>() as f64;
        let mut found = None;
        while patch_voxels / voxels < LOWRES_THRESHOLD {
            let coarsest = spacing.iter().copied().fold(0.0, f64::max);
            // Fine axes first, until all are within a factor of two.
            let any_fine = spacing.iter().any(|spacing| coarsest / spacing > 2.0);
            for axis in spacing.iter_mut().filter(|spacing| !any_fine || coarsest / **spacing > 2.0) {
                *axis *= LOWRES_SPACING_FACTOR;
            }
            shape = std::array::from_fn(|axis| full.spacing[axis] / spacing[axis] * median_shape[axis]);
            voxels = shape.iter().product();
            let fit = budget.fit(&spacing, &shape.map(f64::round_ties_even), self.num_label_names())?;
            patch_voxels = fit.patch.iter().product::<usize>() as f64;
            found = Some(fit);
        }
        let Some(fit) = found.filter(|_| full_voxels / voxels >= 2.0) else { return Ok(None) };
        let mut low = self.describe("3d_lowres", &spacing, &shape.map(f64::round_ties_even), shape, false, fit);
        low.next_stage = Some(NextStage::One("3d_cascade_fullres".to_owned()));
        Ok(Some(low))
    }
}

fn resampling(is_seg: bool, order: u8) -> Resampling {
    Resampling { is_seg, order, order_z: 0, force_separate_z: None, extra: Map::new() }
}

fn object(configuration: &Configuration) -> Map<String, Value> {
    match serde_json::to_value(configuration) {
        Ok(Value::Object(map)) => map,
        _ => unreachable!("a configuration has string keys and finite numbers"),
    }
}
