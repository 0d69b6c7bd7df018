//! What a trainer is told of its network and its data set.

use crate::dataset::{Labels, Operation, Target, TargetKind, TargetSource};
use crate::plan::Architecture;
use indexmap::IndexMap;
use plugin_api::task::Target as Told;
use plugin_api::{Kind, Task};
use std::collections::BTreeSet;

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
    let vectors = matches!(target.kind, TargetKind::Regression { vectors: true, .. });
    let (optional, weighs) = (target.optional, target.weighs.clone());
    Told { kind, channels: channels as i64, classes, ignore, optional, weighs, skeleton_of, vectors }
}

/// The most channels that a target of `dataset.json` may have, too.
const MOST_CHANNELS: usize = 1024;

/// The kind of a target that a plugin makes, as it tells of it: the inverse of [`told`]. Regions are predicted as a label map in which later ones lie
/// on top.
///
/// # Errors
/// What contradicts itself, in words that go on from the target's name.
pub fn made_kind(target: &Told) -> Result<TargetKind, String> {
    let Told { kind, channels, classes, ignore, weighs, vectors, .. } = target;
    let what = format!("of kind {kind:?} with {channels} channels");
    let count = match usize::try_from(*channels) {
        Ok(count @ 1..=MOST_CHANNELS) => count,
        _ => return Err(format!("{what}; expected 1 to {MOST_CHANNELS}")),
    };
    let named = match kind {
        Kind::Labels => count - 1,
        Kind::Regions | Kind::Class => count,
        Kind::Regression => 0,
        Kind::Aux => return Err(format!("{what}; expected labels, regions, regression or class")),
    };
    if classes.len() != named || classes.iter().collect::<BTreeSet<_>>().len() != named {
        return Err(format!("{what} and the classes {classes:?}; expected {named} different names"));
    }
    if matches!(kind, Kind::Labels | Kind::Regions | Kind::Class) && count == 1 {
        return Err(format!("{what}; expected 2 or more, a single region is labels with 2"));
    }
    if *vectors && (*kind, count) != (Kind::Regression, 3) {
        return Err(format!("{what} that are vectors; expected regression with 3"));
    }
    if weighs.is_some() && (*kind, count) != (Kind::Regression, 1) {
        return Err(format!("{what} that are weights; expected regression with 1"));
    }
    if let Some(ignore) = ignore
        && (!matches!(kind, Kind::Labels | Kind::Regions) || ignore != &(named as i64 + 1))
    {
        return Err(format!("{what} and the ignore label {ignore}; expected {} of labels or regions, or none", named + 1));
    }
    Ok(match kind {
        Kind::Regression | Kind::Aux => TargetKind::Regression { channels: count, pad: 0.0, vectors: *vectors },
        Kind::Class => TargetKind::Class { classes: classes.clone() },
        Kind::Labels | Kind::Regions => {
            let last = named as i16;
            let mut names = IndexMap::from([("background".to_owned(), vec![0])]);
            // A voxel of the label map that shows region i may belong to those below it, too.
            let values = |i: i16| if *kind == Kind::Regions { (i..=last).collect() } else { vec![i] };
            names.extend(classes.iter().cloned().zip((1..=last).map(values)));
            let region_order = (*kind == Kind::Regions).then(|| (1..=last).collect());
            TargetKind::Labels(Labels { names, ignore: ignore.map(|_| last + 1), region_order })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(kind: Kind, channels: i64, classes: &[&str]) -> Told {
        Told { classes: classes.iter().map(|name| (*name).to_owned()).collect(), ..Told::new(kind, channels) }
    }

    #[test]
    fn what_a_plugin_tells_of_its_targets_comes_back_the_same() {
        for told_of in [
            target(Kind::Labels, 3, &["a", "b"]),
            Told { ignore: Some(3), ..target(Kind::Labels, 3, &["a", "b"]) },
            target(Kind::Regions, 3, &["whole", "core", "spot"]),
            Told { ignore: Some(3), ..target(Kind::Regions, 2, &["whole", "core"]) },
            target(Kind::Regression, 4, &[]),
            Told { vectors: true, ..target(Kind::Regression, 3, &[]) },
            target(Kind::Class, 2, &["small", "large"]),
        ] {
            let kind = made_kind(&told_of).unwrap_or_else(|reason| panic!("{told_of:?} {reason}"));
            let source = TargetSource::Maps(String::new());
            let back = told(&Target { kind, source, optional: false, weighs: None });
            assert_eq!(format!("{back:?}"), format!("{told_of:?}"));
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for (told, part) in [
            (target(Kind::Aux, 1, &[]), "of kind Aux with 1 channels; expected labels"),
            (target(Kind::Regression, 0, &[]), "expected 1 to 1024"),
            (target(Kind::Regression, 100_000, &[]), "expected 1 to 1024"),
            (target(Kind::Labels, 3, &["a"]), "[\"a\"]; expected 2 different names"),
            (target(Kind::Labels, 3, &["a", "a"]), "expected 2 different names"),
            (target(Kind::Labels, 1, &[]), "expected 2 or more"),
            (target(Kind::Regions, 1, &["a"]), "a single region is labels with 2"),
            (Told { vectors: true, ..target(Kind::Regression, 2, &[]) }, "expected regression with 3"),
            (Told { weighs: Some("a".to_owned()), ..target(Kind::Class, 2, &["a", "b"]) }, "expected regression with 1"),
            (Told { ignore: Some(2), ..target(Kind::Labels, 3, &["a", "b"]) }, "ignore label 2; expected 3"),
            (Told { ignore: Some(2), ..target(Kind::Regression, 1, &[]) }, "of labels or regions, or none"),
        ] {
            let reason = made_kind(&told).expect_err("must be refused");
            assert!(reason.contains(part), "{told:?}: {reason}");
        }
    }
}
