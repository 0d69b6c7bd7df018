//! What the arrays of a store follow from, besides the files of the cases, as hashes.

use serde_json::{Value, json};

use crate::dataset::{Dataset, Target, TargetSource};
use crate::hash::sha256;
use crate::kinds::Form;
use crate::plan::{Configuration, Plans, SPLINES};
use imaging::io::Reader;
use imaging::normalise::Normalisation;

/// Counted up whenever the same input gives other arrays or another layout.
pub(super) const VERSION: u32 = 4;
/// The version of stores that are called by their `data_identifier` alone. Counted up with [`VERSION`], when arrays are others.
pub(super) const UNNAMED_VERSION: u32 = 3;

/// The key of a store: a hash of what changes its arrays, and of nothing else. Names of labels and channels do not, nor do batch and patch
/// sizes, nor intensities that no channel is normalised by.
pub(super) fn store_key(dataset: &Dataset, plans: &Plans, configuration: &Configuration) -> String {
    let stored = |(name, target): (&String, &Target)| match (&target.source, target.kind.form()) {
        (TargetSource::Maps(_), Form::Voxels(kind)) => Some(json!([name, kind.stored_as()])),
        _ => None,
    };
    let targets = dataset.description.targets.iter().filter_map(stored);
    let mut targets: Vec<Value> = targets.collect();
    // Their order decides in which order arrays lie in a file.
    targets.sort_by_cached_key(Value::to_string);
    let channels = configuration.normalization_schemes.iter().zip(&configuration.use_mask_for_norm).enumerate();
    let channels = channels.map(|(channel, (scheme, use_mask))| {
        let properties = plans.foreground_intensity_properties_per_channel.get(&channel.to_string());
        match Normalisation::from_plans_name(scheme) {
            Ok(Normalisation::Ct) => {
                json!([scheme, properties.map(|p| [p.mean, p.std, p.percentile_00_5, p.percentile_99_5])])
            }
            Ok(Normalisation::ZScore) => json!([scheme, use_mask]),
            _ => json!([scheme]),
        }
    });
    let content = json!({
        "version": VERSION,
        "targets": targets,
        "channels": channels.collect::<Vec<_>>(),
        "transpose_forward": plans.transpose_forward,
        "spacing": configuration.spacing,
        "resampling_fn_data_kwargs": configuration.resampling_fn_data_kwargs,
        "resampling_fn_seg_kwargs": configuration.resampling_fn_seg_kwargs,
    });
    sha256(content.to_string() + &unusual(dataset, plans, configuration))
}

/// What versions up to 2026-11 did not have, as text that is empty where plans make use of none of it: then arrays, and their keys, are the
/// same as before.
fn unusual(dataset: &Dataset, plans: &Plans, configuration: &Configuration) -> String {
    let parts = [
        ("image_reader_writer", &plans.image_reader_writer, is_usual(&plans.image_reader_writer, dataset)),
        ("resampling_fn_data", &configuration.resampling_fn_data, configuration.resampling_fn_data == SPLINES),
        ("resampling_fn_seg", &configuration.resampling_fn_seg, configuration.resampling_fn_seg == SPLINES),
    ];
    parts.into_iter().filter(|(.., is_usual)| !is_usual).map(|(key, value, _)| format!(";{key}={value}")).collect()
}

/// Whether versions up to 2026-11 read as the reader of this name does. They told a stack of TIFF pages from a single image by the file.
pub(super) fn is_usual(reader: &str, dataset: &Dataset) -> bool {
    let usual = Reader::usual(&dataset.description.file_ending).map(Reader::name);
    usual == Some(reader) || reader == Reader::Tiff3D.name()
}

/// What data keys hold of the store: its key as version 3 computed it, names of labels and channels included. Runs of then and of now
/// have equal data keys where their batches are the same.
pub(super) fn data_key_part(dataset: &Dataset, plans: &Plans, configuration: &Configuration) -> String {
    let described = &dataset.description.json;
    let of_dataset = ["channel_names", "modality", "labels", "regions_class_order", "file_ending"];
    let description: Vec<&Value> = of_dataset.iter().map(|key| described.get(key).unwrap_or(&Value::Null)).collect();
    let maps = dataset.description.targets.iter().filter(|(_, target)| matches!(target.source, TargetSource::Maps(_)));
    let of_target = ["labels", "regions_class_order", "channels", "vectors"];
    let targets: Vec<Value> = maps
        .map(|(name, _)| {
            let entry = &described["targets"][name];
            json!([name, of_target.map(|key| entry.get(key).cloned().unwrap_or_default())])
        })
        .collect();
    let content = json!({
        "version": UNNAMED_VERSION,
        "dataset": description,
        "targets": targets,
        "transpose_forward": plans.transpose_forward,
        "intensities": plans.foreground_intensity_properties_per_channel,
        "spacing": configuration.spacing,
        "normalization_schemes": configuration.normalization_schemes,
        "use_mask_for_norm": configuration.use_mask_for_norm,
        "resampling_fn_data_kwargs": configuration.resampling_fn_data_kwargs,
        "resampling_fn_seg_kwargs": configuration.resampling_fn_seg_kwargs,
    });
    sha256(content.to_string() + &unusual(dataset, plans, configuration))
}
