//! nnU-Net's `ExperimentPlanner`: spacing, patch, topology, batch size from the fingerprint.
//!
//! Configurations `2d` and `3d_fullres` are planned, constant by constant as `default_experiment_planner.py` does.
//! `3d_lowres` is only searched for, because nnU-Net sets `batch_dice` of `3d_fullres` by whether it exists.

use imaging::normalise::Normalisation;
use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::estimate::feature_map_elements;
use super::statistics::{per_axis, percentile};
use super::topology::{Topology, topology};
use super::{ArchKwargs, Architecture, Configuration, Error, Plans, Resampling};
use crate::dataset::{Dataset, Description};
use crate::fingerprint::{Fingerprint, median};

const ANISOTROPY_THRESHOLD: f64 = 3.0;
const BASE_FEATURES: usize = 32;
const CONVS_PER_STAGE: usize = 2;
const MEMORY_GB: f64 = 8.0;
const MIN_BATCH_SIZE: f64 = 2.0;
/// A batch covers at most this part of all voxels.
const MAX_DATASET_COVERED: f64 = 0.05;
/// Below this ratio of patch to image nnU-Net plans a low-resolution configuration.
const LOWRES_THRESHOLD: f64 = 0.25;
const LOWRES_SPACING_FACTOR: f64 = 1.03;

/// Numbers that differ between 2D and 3D.
struct Reference {
    /// Feature map elements that fit [`MEMORY_GB`] at batch size `batch_size`.
    elements: f64,
    batch_size: f64,
    max_features: usize,
    /// Volume of the first guess of a patch, and its root.
    initial_voxels: f64,
    root: f64,
}

impl Reference {
    fn of(dims: usize) -> Self {
        if dims == 2 {
            Self { elements: 85e6, batch_size: 12.0, max_features: 512, initial_voxels: 2048f64 * 2048.0, root: 1.0 / 2.0 }
        } else {
            let initial_voxels = 256f64 * 256.0 * 256.0;
            Self { elements: 560e6, batch_size: 2.0, max_features: 320, initial_voxels, root: 1.0 / 3.0 }
        }
    }
}

/// Plans for 8 GB of GPU memory, by the rules of nnU-Net's default planner.
///
/// # Errors
/// When the fingerprint is empty or no patch is small enough.
pub fn plan_default(fingerprint: &Fingerprint, dataset: &Dataset, plans_name: &str) -> Result<Plans, Error> {
    plan(fingerprint, &dataset.description, &dataset.name, plans_name)
}

pub(super) fn plan(fingerprint: &Fingerprint, description: &Description, dataset_name: &str, plans_name: &str) -> Result<Plans, Error> {
    check(fingerprint)?;
    let target = fullres_spacing(fingerprint);
    let forward = transpose_forward(target);
    let backward = std::array::from_fn(|axis| forward.iter().position(|other| *other == axis).unwrap_or(axis));
    let transpose = |values: [f64; 3]| forward.map(|axis| values[axis]);
    let spacing = transpose(target);
    let shapes = fingerprint.shapes_after_crop.iter().zip(&fingerprint.spacings);
    let new_shapes: Vec<[f64; 3]> =
        shapes.map(|(shape, spacing)| imaging::resample::new_shape(*shape, *spacing, target).map(|size| size as f64)).collect();
    let median_shape = transpose(per_axis(&new_shapes, median));
    let planner = Planner { fingerprint, description, plans_name };
    let voxels = median_shape.iter().product::<f64>() * description.num_training as f64;

    let mut configurations = IndexMap::new();
    let flat = planner.configuration("2d", &spacing[1..], &median_shape[1..], voxels, true)?;
    configurations.insert("2d".to_owned(), object(&flat));
    if median_shape[0] != 1.0 {
        let mut full = planner.configuration("3d_fullres", &spacing, &median_shape, voxels, false)?;
        full.batch_dice = planner.has_lowres(&full, median_shape)?;
        configurations.insert("3d_fullres".to_owned(), object(&full));
    }
    let sizes: Vec<[f64; 3]> = fingerprint.shapes_after_crop.iter().map(|shape| shape.map(|size| size as f64)).collect();
    Ok(Plans {
        dataset_name: dataset_name.to_owned(),
        plans_name: plans_name.to_owned(),
        original_median_spacing_after_transp: transpose(per_axis(&fingerprint.spacings, median)).to_vec(),
        original_median_shape_after_transp: transpose(per_axis(&sizes, median)).map(|size| size.round_ties_even() as usize).to_vec(),
        image_reader_writer: reader_writer(description).to_owned(),
        transpose_forward: forward,
        transpose_backward: backward,
        configurations,
        experiment_planner_used: "ExperimentPlanner".to_owned(),
        label_manager: "LabelManager".to_owned(),
        foreground_intensity_properties_per_channel: fingerprint.foreground_intensity_properties_per_channel.clone(),
        extra: Map::new(),
    })
}

fn check(fingerprint: &Fingerprint) -> Result<(), Error> {
    let (spacings, shapes) = (&fingerprint.spacings, &fingerprint.shapes_after_crop);
    if spacings.is_empty() || spacings.len() != shapes.len() {
        let found = format!("{} spacings and {} shapes", spacings.len(), shapes.len());
        return Err(Error::Fingerprint { found });
    }
    if let Some(spacing) = spacings.iter().find(|spacing| spacing.iter().any(|s| !(*s > 0.0 && s.is_finite()))) {
        return Err(Error::Fingerprint { found: format!("spacing {spacing:?}") });
    }
    match shapes.iter().find(|shape| shape.contains(&0)) {
        Some(shape) => Err(Error::Fingerprint { found: format!("shape {shape:?}") }),
        None => Ok(()),
    }
}

/// Median spacing; the tenth percentile along an axis that is much coarser than the others.
fn fullres_spacing(fingerprint: &Fingerprint) -> [f64; 3] {
    let sizes: Vec<[f64; 3]> = fingerprint.shapes_after_crop.iter().map(|shape| shape.map(|size| size as f64)).collect();
    let mut target = per_axis(&fingerprint.spacings, |values| percentile(values, 50.0));
    let size = per_axis(&sizes, |values| percentile(values, 50.0));
    let worst = first_max(&target);
    let others: Vec<usize> = (0..3).filter(|axis| *axis != worst).collect();
    let coarsest_other = target[others[0]].max(target[others[1]]);
    let smallest_other = size[others[0]].min(size[others[1]]);
    let coarse = target[worst] > ANISOTROPY_THRESHOLD * coarsest_other;
    let few = size[worst] * ANISOTROPY_THRESHOLD < smallest_other;
    if coarse && few {
        let along: Vec<f64> = fingerprint.spacings.iter().map(|spacing| spacing[worst]).collect();
        let tenth = percentile(&along, 10.0);
        target[worst] = if tenth < coarsest_other { coarsest_other.max(tenth) + 1e-5 } else { tenth };
    }
    target
}

/// The coarsest axis first, the others in their order.
fn transpose_forward(target: [f64; 3]) -> [usize; 3] {
    match first_max(&target) {
        0 => [0, 1, 2],
        1 => [1, 0, 2],
        _ => [2, 0, 1],
    }
}

fn first_max(values: &[f64; 3]) -> usize {
    (1..3).fold(0, |best, axis| if values[axis] > values[best] { axis } else { best })
}

/// nnU-Net's reader for the file ending (`reader_writer_registry.py`).
fn reader_writer(description: &Description) -> &str {
    if let Some(name) = description.json.get("overwrite_image_reader_writer").and_then(Value::as_str)
        && name != "None"
    {
        return name;
    }
    match description.file_ending.to_lowercase().as_str() {
        ".png" | ".bmp" => "NaturalImage2DIO",
        ".tif" | ".tiff" => "Tiff3DIO",
        ".nii" => "NibabelIO",
        _ => "SimpleITKIO",
    }
}

struct Planner<'a> {
    fingerprint: &'a Fingerprint,
    description: &'a Description,
    plans_name: &'a str,
}

impl Planner<'_> {
    fn configuration(
        &self,
        name: &str,
        spacing: &[f64],
        median_shape: &[f64],
        dataset_voxels: f64,
        batch_dice: bool,
    ) -> Result<Configuration, Error> {
        let reference = Reference::of(spacing.len());
        let (network, elements) = self.shrink_to_memory(spacing, median_shape, &reference)?;
        let patch_voxels = network.patch.iter().product::<usize>() as f64;
        let by_memory = (reference.elements / elements * reference.batch_size).round_ties_even();
        let by_dataset = (dataset_voxels * MAX_DATASET_COVERED / patch_voxels).round_ties_even();
        let schemes: Vec<Normalisation> =
            self.description.channel_names.iter().map(|channel| Normalisation::from_channel_name(channel)).collect();
        let masked = self.fingerprint.median_relative_size_after_cropping < 3.0 / 4.0;
        Ok(Configuration {
            data_identifier: format!("{}_{name}", self.plans_name),
            preprocessor_name: "DefaultPreprocessor".to_owned(),
            batch_size: by_memory.min(by_dataset).max(MIN_BATCH_SIZE) as usize,
            patch_size: network.patch.clone(),
            median_image_size_in_voxels: median_shape.to_vec(),
            spacing: spacing.to_vec(),
            normalization_schemes: schemes.iter().map(|scheme| scheme.plans_name().to_owned()).collect(),
            use_mask_for_norm: schemes.iter().map(|scheme| masked && matches!(scheme, Normalisation::ZScore)).collect(),
            resampling_fn_data: "resample_data_or_seg_to_shape".to_owned(),
            resampling_fn_seg: "resample_data_or_seg_to_shape".to_owned(),
            resampling_fn_data_kwargs: resampling(false, 3),
            resampling_fn_seg_kwargs: resampling(true, 1),
            resampling_fn_probabilities: "resample_data_or_seg_to_shape".to_owned(),
            resampling_fn_probabilities_kwargs: resampling(false, 1),
            architecture: architecture(&network, reference.max_features),
            batch_dice,
            previous_stage: None,
            extra: Map::new(),
        })
    }

    /// Starts from a patch of the spacing's proportions, no larger than the images, and shrinks it until it fits.
    fn shrink_to_memory(&self, spacing: &[f64], median_shape: &[f64], reference: &Reference) -> Result<(Topology, f64), Error> {
        let inverse: Vec<f64> = spacing.iter().map(|spacing| 1.0 / spacing).collect();
        let scale = (reference.initial_voxels / inverse.iter().product::<f64>()).powf(reference.root);
        let initial: Vec<f64> =
            inverse.iter().zip(median_shape).map(|(inverse, median)| (inverse * scale).round_ties_even().min(*median)).collect();
        let classes = self.num_label_names();
        let elements = |network: &Topology| {
            let stages = network.strides.len();
            let features = features_per_stage(stages, reference.max_features);
            let convs = vec![CONVS_PER_STAGE; stages];
            feature_map_elements(&network.patch, &network.strides, &features, &convs, &convs[1..], classes)
        };
        let mut network = topology(spacing, &initial);
        let mut estimate = elements(&network);
        while estimate / reference.batch_size * 2.0 > reference.elements {
            let ratio = |axis: usize| network.patch[axis] as f64 / median_shape[axis];
            // The last of the largest, as argsort(...)[-1] has it.
            let axis = (1..spacing.len()).fold(0, |best, axis| if ratio(axis) >= ratio(best) { axis } else { best });
            // Subtracting today's divisor would skip valid sizes (192 follows 256 although 224 is one): the divisor that
            // holds after a trial subtraction is what is taken off.
            let reduce = |by: usize| -> Result<Vec<f64>, Error> {
                let mut patch: Vec<f64> = network.patch.iter().map(|size| *size as f64).collect();
                patch[axis] -= by as f64;
                if patch[axis] < 1.0 {
                    return Err(Error::DoesNotFit { memory_gb: MEMORY_GB, classes });
                }
                Ok(patch)
            };
            let trial = topology(spacing, &reduce(network.divisor[axis])?);
            network = topology(spacing, &reduce(trial.divisor[axis])?);
            estimate = elements(&network);
        }
        Ok((network, estimate))
    }

    /// Entries of `labels`, the ignore label included: what nnU-Net takes for the number of classes here.
    fn num_label_names(&self) -> usize {
        let labels = self.description.segmentation();
        labels.names.len() + usize::from(labels.ignore.is_some())
    }

    /// Whether nnU-Net would plan `3d_lowres` beside `full`.
    fn has_lowres(&self, full: &Configuration, median_shape: [f64; 3]) -> Result<bool, Error> {
        let full_voxels = median_shape.iter().product::<f64>();
        let mut spacing = full.spacing.clone();
        let mut voxels = full_voxels;
        let mut patch_voxels = full.patch_size.iter().product::<usize>() as f64;
        let mut found = false;
        while patch_voxels / voxels < LOWRES_THRESHOLD {
            let coarsest = spacing.iter().copied().fold(0.0, f64::max);
            // Fine axes first, until all are within a factor of two.
            let any_fine = spacing.iter().any(|spacing| coarsest / spacing > 2.0);
            for axis in spacing.iter_mut().filter(|spacing| !any_fine || coarsest / **spacing > 2.0) {
                *axis *= LOWRES_SPACING_FACTOR;
            }
            let shape: Vec<f64> = (0..3).map(|axis| full.spacing[axis] / spacing[axis] * median_shape[axis]).collect();
            voxels = shape.iter().product();
            let rounded: Vec<f64> = shape.iter().map(|size| size.round_ties_even()).collect();
            let (network, _) = self.shrink_to_memory(&spacing, &rounded, &Reference::of(3))?;
            patch_voxels = network.patch.iter().product::<usize>() as f64;
            found = true;
        }
        Ok(found && full_voxels / voxels >= 2.0)
    }
}

fn features_per_stage(stages: usize, max: usize) -> Vec<usize> {
    (0..stages).map(|stage| (BASE_FEATURES << stage.min(16)).min(max)).collect()
}

fn resampling(is_seg: bool, order: u8) -> Resampling {
    Resampling { is_seg, order, order_z: 0, force_separate_z: None, extra: Map::new() }
}

fn architecture(network: &Topology, max_features: usize) -> Architecture {
    let stages = network.strides.len();
    let dims = network.patch.len();
    let kwargs = |value: Value| value.as_object().cloned();
    Architecture {
        network_class_name: "dynamic_network_architectures.architectures.unet.PlainConvUNet".to_owned(),
        arch_kwargs: ArchKwargs {
            n_stages: stages,
            features_per_stage: features_per_stage(stages, max_features),
            conv_op: format!("torch.nn.modules.conv.Conv{dims}d"),
            kernel_sizes: network.kernel_sizes.clone(),
            strides: network.strides.clone(),
            n_conv_per_stage: vec![CONVS_PER_STAGE; stages],
            n_conv_per_stage_decoder: vec![CONVS_PER_STAGE; stages - 1],
            conv_bias: true,
            norm_op: Some(format!("torch.nn.modules.instancenorm.InstanceNorm{dims}d")),
            norm_op_kwargs: kwargs(json!({"eps": 1e-5, "affine": true})),
            dropout_op: None,
            dropout_op_kwargs: None,
            nonlin: Some("torch.nn.LeakyReLU".to_owned()),
            nonlin_kwargs: kwargs(json!({"inplace": true})),
            extra: Map::new(),
        },
        kw_requires_import: ["conv_op", "norm_op", "dropout_op", "nonlin"].map(str::to_owned).to_vec(),
    }
}

fn object(configuration: &Configuration) -> Map<String, Value> {
    match serde_json::to_value(configuration) {
        Ok(Value::Object(map)) => map,
        _ => unreachable!("a configuration has string keys and finite numbers"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Every key of `expected` has the same value in `found`, and `found` has no further ones.
    fn assert_same(found: &Plans, expected: &Value, name: &str) {
        let found = serde_json::to_value(found).expect("plans are JSON");
        let (found, expected) = (found.as_object().expect("object"), expected.as_object().expect("object"));
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}: keys and order");
        for (key, value) in expected {
            let Some(configurations) = value.as_object().filter(|_| key == "configurations") else {
                assert_eq!(&found[key], value, "{name}: {key}");
                continue;
            };
            for (configuration, value) in configurations {
                for (inner, value) in value.as_object().expect("object") {
                    assert_eq!(&found[key][configuration][inner], value, "{name}: {configuration}: {inner}");
                }
            }
            // As text, so that the order of keys counts as well.
            assert_eq!(found[key].to_string(), value.to_string(), "{name}");
        }
    }

    #[test]
    fn hippocampus_equals_nnunet() {
        let expected = include_str!("../../../tests/golden/hippocampus_plans.json");
        let expected: Value = serde_json::from_str(expected).expect("golden file");
        let fingerprint = include_str!("../../../tests/golden/hippocampus_fingerprint.json");
        let fingerprint: Fingerprint = serde_json::from_str(fingerprint).expect("golden file");
        let dataset = json!({
            "channel_names": {"0": "MRI"}, "labels": {"background": 0, "anterior": 1, "posterior": 2},
            "numTraining": 200, "file_ending": ".nii.gz"
        });
        let description = Description::parse(Path::new("dataset.json"), dataset).expect("valid");
        let found = plan(&fingerprint, &description, "Dataset004_Hippocampus", "nnUNetPlans").expect("planned");
        assert_same(&found, &expected, "Hippocampus");
    }

    #[test]
    fn made_up_data_sets_equal_nnunet() {
        let golden: Map<String, Value> = serde_json::from_str(include_str!("../../../tests/golden/plans.json")).expect("golden file");
        for (name, case) in golden {
            let fingerprint: Fingerprint = serde_json::from_value(case["fingerprint"].clone()).expect("golden file");
            let description = Description::parse(Path::new("dataset.json"), case["dataset"].clone()).expect("valid");
            let dataset_name = case["plans"]["dataset_name"].as_str().expect("golden file");
            let found = plan(&fingerprint, &description, dataset_name, "nnUNetPlans").expect("planned");
            assert_same(&found, &case["plans"], &name);
        }
    }

    #[test]
    fn what_cannot_be_planned_is_refused() {
        let fingerprint = include_str!("../../../tests/golden/hippocampus_fingerprint.json");
        let mut fingerprint: Fingerprint = serde_json::from_str(fingerprint).expect("golden file");
        let labels: Map<String, Value> =
            (0..32000).map(|i| (if i == 0 { "background".into() } else { format!("l{i}") }, json!(i))).collect();
        let dataset = json!({"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 200, "file_ending": ".nii"});
        let description = Description::parse(Path::new("dataset.json"), dataset).expect("valid");
        let plan = |fingerprint: &Fingerprint| plan(fingerprint, &description, "d", "p").map_err(|error| error.to_string());
        assert!(plan(&fingerprint).is_ok_and(|plans| plans.configuration("3d_fullres").is_ok()));
        fingerprint.shapes_after_crop.iter_mut().for_each(|shape| *shape = [4, 4, 4]);
        fingerprint.spacings[0][1] = 0.0;
        assert!(plan(&fingerprint).expect_err("no spacing").contains("spacing [1.0, 0.0, 1.0]"));
    }
}
