//! What a trainer is told of its network and its data set.

use crate::dataset::{Operation, Target, TargetKind, TargetSource};
use crate::plan::Architecture;
use indexmap::IndexMap;
use plugin_api::task::Target as Told;
use plugin_api::{Kind, Task};

/// The task of a network of `architecture` on patches `([z,] y, x)` of this spacing, as far as that says it: for a training, batch size,
/// epochs, iterations, device and seed are still to be filled in; for prediction they do not matter.
pub fn task(architecture: &Architecture, patch_size: &[usize], spacing: &[f64], targets: IndexMap<String, Told>) -> Task {
    let signed = |sizes: &[usize]| sizes.iter().map(|size| *size as i64).collect::<Vec<_>>();
    let kwargs = &architecture.arch_kwargs;
    Task {
        dims: patch_size.len(),
        patch_size: signed(patch_size),
        spacing: spacing.to_vec(),
        features: signed(&kwargs.features_per_stage),
        strides: kwargs.strides.iter().map(|stride| signed(stride)).collect(),
        targets,
        batch_size: 1,
        batch_dice: false,
        epochs: 1,
        iterations: 1,
        device: "cpu".to_owned(),
        seed: 0,
    }
}

/// The kind of an output for a target of `kind`.
pub fn output_kind(kind: &TargetKind) -> Kind {
    match kind {
        TargetKind::Labels(labels) if labels.has_regions() => Kind::Regions,
        TargetKind::Labels(_) => Kind::Labels,
        TargetKind::Regression { .. } => Kind::Regression,
        TargetKind::Class { .. } => Kind::Class,
    }
}

/// A target as trainers are told of it.
pub fn told(target: &Target) -> Told {
    let kind = output_kind(&target.kind);
    let (channels, classes, ignore) = match &target.kind {
        TargetKind::Labels(labels) => {
            let classes = labels.foreground().into_iter().map(|(name, _)| name).collect();
            (labels.channels(), classes, labels.ignore.map(i64::from))
        }
        TargetKind::Regression { channels, .. } => (*channels, Vec::new(), None),
        TargetKind::Class { classes } => (classes.len(), classes.clone(), None),
    };
    let skeleton_of = match &target.source {
        TargetSource::Derived { from, operation: Operation::Skeleton } => Some(from.clone()),
        _ => None,
    };
    let (optional, weighs) = (target.optional, target.weighs.clone());
    Told { kind, channels: channels as i64, classes, ignore, optional, weighs, skeleton_of }
}
