//! Makes the patch of one target: what a case has of it, moved with its image, or derived from another target's patch.

use imaging::Volume;
use imaging::augment::Recipe;

use super::Levels;
use super::batch::{TargetBatch, coarsen, region_channels};
use data::dataset::{DeriveMemory, Derived, Labels, Operation, Origin, TargetKind, clear_unknown, derive};

/// Sets sample `index` to the patch `labels` of a label map, in which -1 is what lies outside.
pub(super) fn put_labels(target: &mut TargetBatch, kind: &Labels, index: usize, labels: &[i16]) {
    match &mut target.levels {
        Levels::Labels(levels) => {
            levels[0].slot(index).iter_mut().zip(labels).for_each(|(out, label)| *out = (*label).max(0));
            coarsen(levels, index);
        }
        Levels::Regions(levels) => {
            let slot = levels[0].slot(index);
            for (channel, region) in slot.chunks_exact_mut(labels.len()).zip(region_channels(kind)) {
                channel.iter_mut().zip(labels).for_each(|(out, label)| *out = region.contains(&(*label).max(0)));
            }
            coarsen(levels, index);
        }
        Levels::Regression(_) | Levels::Class(_) => unreachable!("the target has labels"),
    }
}

/// Sets sample `index` to the patch of a regression target, of which `source` is [`Recipe::source`]. With `vectors` it holds vectors
/// on voxels that far apart.
pub(super) fn put_regression(
    target: &mut TargetBatch,
    index: usize,
    recipe: &Recipe,
    source: &Volume<f32>,
    pad: f32,
    vectors: Option<[f64; 3]>,
) {
    let Levels::Regression(levels) = &mut target.levels else { unreachable!("the target has real numbers") };
    let slot = levels[0].slot(index);
    recipe.regression(source.view(), pad, slot);
    if let Some(spacing) = vectors {
        recipe.turn_vectors(slot, spacing);
    }
    coarsen(levels, index);
    recipe.inside(target.mask(index));
    target.set_present(index, false);
}

/// Sets sample `index` to what `operation` makes of a label map. Nothing is known outside the volume, where [`clear_unknown`] says so, and
/// of distances where the patch shows no border.
pub(super) fn put_derived(
    target: &mut TargetBatch,
    kind: &TargetKind,
    index: usize,
    operation: &Operation,
    (recipe, origin): (&Recipe, &Origin),
    (memory, labels): (&mut DeriveMemory, &mut Vec<i16>),
) {
    recipe.inside(target.mask(index));
    match (kind, &mut target.levels) {
        (_, Levels::Regression(levels)) => {
            let distances = levels[0].slot(index);
            let mask = target.mask[0].slot(index);
            if derive(operation, origin, memory, Derived::Values(distances)) {
                clear_unknown(origin, Some(distances), memory, mask);
            } else {
                mask.fill(false);
            }
            coarsen(levels, index);
        }
        (TargetKind::Labels(kind), _) => {
            labels.resize(origin.labels.len(), 0);
            derive(operation, origin, memory, Derived::Labels(labels));
            clear_unknown(origin, None, memory, target.mask(index));
            put_labels(target, kind, index, labels);
        }
        _ => unreachable!("nothing else is derived"),
    }
    target.set_present(index, false);
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use data::kinds::Regression;
    use crate::loading::{Array, LoaderOptions, Phase, Sampling};
    use imaging::augment::Augmentation;

    fn options(shapes: Vec<[usize; 3]>) -> LoaderOptions {
        LoaderOptions {
            seed: 0,
            phase: Phase::Train,
            batch_size: 2,
            patch: shapes[0],
            levels: shapes,
            sampling: Sampling::default(),
            foreground: Vec::new(),
            augmentation: Augmentation::none(),
            workers: 1,
            share: crate::loading::Share::default(),
        }
    }

    fn labels(names: &[(&str, &[i16])], ignore: Option<i16>) -> Labels {
        let names = names.iter().map(|(name, values)| ((*name).to_owned(), values.to_vec())).collect();
        Labels { names, ignore, ..Labels::default() }
    }

    /// What nnU-Net's last transforms make of a label map: `imaging/tests/golden/make_augment.py`.
    #[test]
    fn labels_regions_and_coarser_levels_are_those_of_nnunet() {
        let golden: Value = serde_json::from_str(include_str!("../../imaging/tests/golden/augment.json")).expect("golden file");
        let numbers = |value: &Value| value.as_array().expect("a list").iter().map(|n| n.as_i64().expect("whole")).collect::<Vec<_>>();
        let source: Vec<i16> = numbers(&golden["source"]["labels"]).iter().map(|label| *label as i16).collect();
        let golden = &golden["targets"];
        let shapes: Vec<[usize; 3]> = golden["shapes"]
            .as_array()
            .expect("levels")
            .iter()
            .map(|shape| {
                let shape = numbers(shape);
                [shape[0] as usize, shape[1] as usize, shape[2] as usize]
            })
            .collect();
        let options = options(shapes);
        let plain = labels(&[("background", &[0]), ("a", &[1]), ("b", &[2])], Some(3));
        let regions = labels(&[("background", &[0]), ("whole", &[1, 2]), ("core", &[2])], Some(3));
        for (kind, expected) in [(plain, &golden["labels"]), (regions, &golden["regions"])] {
            let mut target = TargetBatch::new(&TargetKind::Labels(kind.clone()), &options);
            // Memory that was used before, by something else.
            put_labels(&mut target, &kind, 1, &vec![2; source.len()]);
            put_labels(&mut target, &kind, 1, &source);
            for (level, expected) in expected.as_array().expect("levels").iter().enumerate() {
                fn found<T: Copy + Into<i64>>(levels: &[Array<T>], level: usize) -> Vec<i64> {
                    levels[level].sample(1).iter().map(|value| (*value).into()).collect()
                }
                let found = match &target.levels {
                    Levels::Labels(levels) => found(levels, level),
                    Levels::Regions(levels) => found(levels, level),
                    other => panic!("{other:?}"),
                };
                assert_eq!(found, numbers(expected), "level {level}");
            }
        }
    }

    #[test]
    fn what_is_derived_is_not_believed_outside_near_what_is_ignored_and_without_a_border() {
        let kind = labels(&[("background", &[0]), ("a", &[1])], Some(2));
        let regression = TargetKind::Regression(Regression { channels: 1, pad: 0.0, vectors: false });
        let options = options(vec![[1, 1, 8]]);
        let valid = |map: [i16; 8], origin: [i64; 3]| {
            let recipe = Recipe::draw(
                &Augmentation::none(),
                [1, 1, 8],
                origin,
                [1, 1, 8],
                1,
                &mut crate::loading::random::generator(0, Phase::Train, 0, 0, 0),
            );
            let origin = Origin { kind: &kind, labels: &map, spatial: [1, 1, 8], spacing: [1.0; 3] };
            let mut target = TargetBatch::new(&regression, &options);
            target.set_absent(0);
            let memory = (&mut DeriveMemory::default(), &mut Vec::new());
            put_derived(&mut target, &regression, 1, &Operation::SignedDistance, (&recipe, &origin), memory);
            target.finish();
            target.valid()[0].sample(1).to_vec()
        };
        assert_eq!(valid([0, 0, 1, 1, 0, 0, 0, 0], [0; 3]), [true; 8]);
        assert_eq!(valid([0, 0, 1, 1, 0, 0, -1, -1], [0, 0, 2]), [true, true, true, true, true, true, false, false]);
        // The ignored voxel at the end is as near as the border for the third from the end.
        assert_eq!(valid([0, 1, 0, 0, 0, 0, 0, 2], [0; 3]), [true, true, true, true, true, false, false, false]);
        assert_eq!(valid([0; 8], [0; 3]), [false; 8]);
    }
}
