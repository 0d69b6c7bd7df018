//! What a trainer is told of its network and its data set, and what a plugin tells of targets that it makes.

use super::Trunk;
use crate::kinds;
use data::dataset::{Labels, Operation, Target, TargetKind, TargetSource};
use data::kinds::{Class, MOST_CHANNELS, Regression};
use indexmap::IndexMap;
use plugin_api::task::Target as Told;
use plugin_api::{Kind, Task};
use std::collections::BTreeSet;

/// The task of a network with `trunk` on patches `([z,] y, x)` of this spacing, as far as that says it: for a training, batch size,
/// epochs, iterations, device and seed are still to be filled in; for prediction they do not matter.
pub fn task(trunk: &dyn Trunk, patch_size: &[usize], spacing: &[f64], targets: IndexMap<String, Told>) -> Task {
    Task {
        dims: patch_size.len(),
        patch_size: patch_size.iter().map(|size| *size as i64).collect(),
        spacing: spacing.to_vec(),
        features: trunk.features().to_vec(),
        strides: trunk.strides().to_vec(),
        targets,
        batch_size: 1,
        batch_dice: false,
        epochs: 1,
        iterations: 1,
        device: "cpu".to_owned(),
        seed: 0,
    }
}

/// The targets of a data set as trainers are told of them.
pub fn all_told(targets: &IndexMap<String, Target>) -> IndexMap<String, Told> {
    targets.iter().map(|(name, target)| (name.clone(), told(target))).collect()
}

/// A target as trainers are told of it.
pub fn told(target: &Target) -> Told {
    let kinds::Told { kind, channels, classes, ignore } = kinds::of(&target.kind).told();
    let skeleton_of = match &target.source {
        TargetSource::Derived { from, operation: Operation::Skeleton } => Some(from.clone()),
        _ => None,
    };
    let vectors = target.kind.is_vector();
    let (optional, weighs) = (target.optional, target.weighs.clone());
    Told { kind, channels: channels as i64, classes, ignore, optional, weighs, skeleton_of, vectors }
}

/// The kind of a target that a plugin makes for a network of `dims` dimensions, as it tells of it: the inverse of [`told`]. Regions are
/// predicted as a label map in which later ones lie on top.
///
/// # Errors
/// What contradicts itself, in words that go on from the target's name.
pub fn made_kind(target: &Told, dims: usize) -> Result<TargetKind, String> {
    let Told { kind, channels, classes, ignore, weighs, vectors, skeleton_of, optional: _ } = target;
    let wrong = |expected: String| Err(format!("of kind {kind:?} with {channels} channels; expected {expected}"));
    let least = match kind {
        Kind::Labels | Kind::Regions | Kind::Class => 2,
        Kind::Regression => 1,
        Kind::Aux => return wrong("labels, regions, regression or class".to_owned()),
    };
    let count = match usize::try_from(*channels) {
        Ok(count) if (least..=MOST_CHANNELS).contains(&count) => count,
        _ => return wrong(format!("{least} to {MOST_CHANNELS} channels; a single region is labels with 2")),
    };
    let named = match kind {
        Kind::Labels => count - 1,
        Kind::Regions | Kind::Class => count,
        Kind::Regression | Kind::Aux => 0,
    };
    let taken: &[&str] = if matches!(kind, Kind::Labels | Kind::Regions) { &["", "background", "ignore"] } else { &[""] };
    let different = classes.iter().collect::<BTreeSet<_>>().len() == classes.len();
    if classes.len() != named || !different || classes.iter().any(|name| taken.contains(&name.as_str())) {
        return wrong(format!("{named} different names of classes, without background and ignore, found {classes:?}"));
    }
    // In 2D, vectors may lie in the slice: (y, x).
    let components = if dims == 2 && count == 2 { 2 } else { 3 };
    for (asked, what, expected) in [
        (*vectors, "vectors", (Kind::Regression, components)),
        (weighs.is_some(), "weights", (Kind::Regression, 1)),
        (skeleton_of.is_some(), "skeletons", (Kind::Labels, 2)),
    ] {
        if asked && (*kind, count) != expected {
            return wrong(format!("{:?} with {} channels of {what}", expected.0, expected.1));
        }
    }
    let ignore = match ignore.map(i16::try_from) {
        None => None,
        Some(Ok(ignore)) if *kind == Kind::Regions || (*kind == Kind::Labels && i64::from(ignore) == *channels) => Some(ignore),
        Some(_) => return wrong(format!("the ignore label {channels} of labels, any of regions, or none")),
    };
    Ok(match kind {
        Kind::Labels | Kind::Regions => {
            let last = named as i16;
            let mut names = IndexMap::from([("background".to_owned(), vec![0])]);
            // A voxel of the label map that shows region i may belong to those below it, too.
            let values = |i: i16| if *kind == Kind::Regions { (i..=last).collect() } else { vec![i] };
            names.extend(classes.iter().cloned().zip((1..=last).map(values)));
            let region_order = (*kind == Kind::Regions).then(|| (1..=last).collect());
            TargetKind::Labels(Labels { names, lists: BTreeSet::new(), ignore, region_order })
        }
        Kind::Class => TargetKind::Class(Class { classes: classes.clone() }),
        Kind::Regression | Kind::Aux => TargetKind::Regression(Regression { channels: count, pad: 0.0, vectors: *vectors }),
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
            Told { ignore: Some(7), ..target(Kind::Regions, 2, &["whole", "core"]) },
            target(Kind::Regression, 4, &[]),
            Told { vectors: true, ..target(Kind::Regression, 3, &[]) },
            target(Kind::Class, 2, &["small", "large"]),
        ] {
            let kind = made_kind(&told_of, 3).unwrap_or_else(|reason| panic!("{told_of:?} {reason}"));
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
            (target(Kind::Labels, 3, &["a"]), "expected 2 different names of classes, without background and ignore, found [\"a\"]"),
            (target(Kind::Labels, 3, &["a", "a"]), "expected 2 different names"),
            (target(Kind::Labels, 3, &["background", "a"]), "without background"),
            (target(Kind::Regions, 2, &["a", "ignore"]), "without background and ignore"),
            (target(Kind::Class, 2, &["a", ""]), "expected 2 different names"),
            (target(Kind::Labels, 1, &[]), "expected 2 to 1024"),
            (target(Kind::Regions, 1, &["a"]), "a single region is labels with 2"),
            (Told { vectors: true, ..target(Kind::Regression, 2, &[]) }, "expected Regression with 3 channels of vectors"),
            (
                Told { weighs: Some("a".to_owned()), ..target(Kind::Class, 2, &["a", "b"]) },
                "expected Regression with 1 channels of weights",
            ),
            (
                Told { skeleton_of: Some("a".to_owned()), ..target(Kind::Regression, 1, &[]) },
                "expected Labels with 2 channels of skeletons",
            ),
            (Told { ignore: Some(2), ..target(Kind::Labels, 3, &["a", "b"]) }, "the ignore label 3 of labels"),
            (Told { ignore: Some(1 << 40), ..target(Kind::Regions, 2, &["a", "b"]) }, "any of regions"),
            (Told { ignore: Some(2), ..target(Kind::Regression, 1, &[]) }, "or none"),
        ] {
            let reason = made_kind(&told, 3).expect_err("must be refused");
            assert!(reason.contains(part), "{told:?}: {reason}");
        }
        let in_a_slice = Told { vectors: true, ..target(Kind::Regression, 2, &[]) };
        assert_eq!(made_kind(&in_a_slice, 2), Ok(TargetKind::Regression(Regression { channels: 2, pad: 0.0, vectors: true })));
    }
}
