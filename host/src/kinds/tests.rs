//! What kinds make of patches.

use super::labels::put;
use super::*;
use data::dataset::Labels;
use data::kinds::Regression;
use imaging::augment::Augmentation;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::Value;

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
    let plain = labels(&[("background", &[0]), ("a", &[1]), ("b", &[2])], Some(3));
    let regions = labels(&[("background", &[0]), ("whole", &[1, 2]), ("core", &[2])], Some(3));
    for (kind, expected) in [(plain, &golden["labels"]), (regions, &golden["regions"])] {
        let mut target = TargetBatch::new(&TargetKind::Labels(kind.clone()), 2, &shapes);
        // Memory that was used before, by something else.
        put(&mut target, &kind, 1, &vec![2; source.len()]);
        put(&mut target, &kind, 1, &source);
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
    let valid = |map: [i16; 8], origin: [i64; 3]| {
        let recipe = Recipe::draw(&Augmentation::none(), [1, 1, 8], origin, [1, 1, 8], 1, &mut ChaCha8Rng::seed_from_u64(0));
        let origin = Origin { kind: &kind, labels: &map, spatial: [1, 1, 8], spacing: [1.0; 3] };
        let mut target = TargetBatch::new(&regression, 2, &[[1, 1, 8]]);
        target.set_absent(0);
        of(&regression).derive(&Operation::SignedDistance, &recipe, &origin, &mut Memory::default(), &mut target, 1);
        target.finish();
        target.valid()[0].sample(1).to_vec()
    };
    assert_eq!(valid([0, 0, 1, 1, 0, 0, 0, 0], [0; 3]), [true; 8]);
    assert_eq!(valid([0, 0, 1, 1, 0, 0, -1, -1], [0, 0, 2]), [true, true, true, true, true, true, false, false]);
    // The ignored voxel at the end is as near as the border for the third from the end.
    assert_eq!(valid([0, 1, 0, 0, 0, 0, 0, 2], [0; 3]), [true, true, true, true, true, false, false, false]);
    assert_eq!(valid([0; 8], [0; 3]), [false; 8]);
}
