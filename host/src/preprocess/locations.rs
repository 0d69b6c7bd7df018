//! Where the voxels of every class are, so that patches can be centred on them.

use imaging::Volume;

use crate::dataset::{Labels, RandomState};

const SEED: u32 = 1234;
const MIN_SAMPLES: usize = 10_000;

/// Voxels (z, y, x) of every entry of [`Labels::foreground`]; with an ignore label a last entry follows, which draws from
/// all annotated voxels. Of `count` voxels `max(min(10000, count), ceil(count / 100))` are drawn.
///
/// The voxels and their order are those of nnU-Net's `_sample_foreground_locations` (numpy's generator with seed 1234).
pub(super) fn class_locations(map: &Volume<i16>, labels: &Labels) -> Vec<Vec<[i32; 3]>> {
    let mut wanted: Vec<Vec<i16>> = labels.foreground().into_iter().map(|(_, values)| values).collect();
    if labels.ignore.is_some() {
        // What is outside the nonzero mask (-1) is annotated: nothing is there.
        wanted.push(std::iter::once(-1).chain(labels.values()).collect());
    }
    // Voxels of every wanted value, and where the list of a value is: there may be hundreds of values.
    let mut voxels: Vec<Vec<u32>> = Vec::new();
    let mut list_of = vec![None; 1 << 16];
    for value in wanted.iter().flatten() {
        list_of[*value as u16 as usize].get_or_insert_with(|| {
            voxels.push(Vec::new());
            voxels.len() - 1
        });
    }
    for (index, value) in map.data().iter().enumerate() {
        if let Some(list) = list_of[*value as u16 as usize] {
            voxels[list].push(index as u32);
        }
    }
    let mut random = RandomState::new(SEED);
    let [_, height, width] = map.spatial();
    let position = |index: u32| {
        let index = index as usize;
        [index / width / height, index / width % height, index % width].map(|coordinate| coordinate as i32)
    };
    wanted
        .iter()
        .map(|values| {
            let lists: Vec<&[u32]> =
                values.iter().filter_map(|value| list_of[*value as u16 as usize]).map(|list| voxels[list].as_slice()).collect();
            let count: usize = lists.iter().map(|list| list.len()).sum();
            if count == 0 {
                return Vec::new();
            }
            // The lists end to end; an offset is looked up in the one it falls into.
            let find = |offset: u32| {
                let mut rest = offset as usize;
                for list in &lists {
                    match list.get(rest) {
                        Some(index) => return position(*index),
                        None => rest -= list.len(),
                    }
                }
                unreachable!("offsets are below the sum of all lengths")
            };
            let samples = MIN_SAMPLES.min(count).max(count.div_ceil(100));
            random.choice(count as u32, samples as u32).into_iter().map(find).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use indexmap::IndexMap;

    use super::*;

    fn labels(names: &[(&str, &[i16])], ignore: Option<i16>) -> Labels {
        let names: IndexMap<_, _> = names.iter().map(|(name, values)| ((*name).to_owned(), values.to_vec())).collect();
        Labels { names, ignore, region_order: None }
    }

    /// 2 × 3 × 4 voxels: -1, 0, 1, 2, 3 in turn.
    fn map() -> Volume<i16> {
        Volume::new([1, 2, 3, 4], (0..24).map(|i| i % 5 - 1).collect())
    }

    #[test]
    fn every_voxel_of_a_small_class_is_kept() {
        let labels = labels(&[("background", &[0]), ("a", &[1]), ("b", &[2])], Some(3));
        let found = class_locations(&map(), &labels);
        assert_eq!(found.len(), 3);
        let expected: BTreeSet<[i32; 3]> = [2, 7, 12, 17, 22].map(|i| [i / 12, i / 4 % 3, i % 4]).into();
        assert_eq!(found[0].iter().copied().collect::<BTreeSet<_>>(), expected);
        assert_eq!(found[0].len(), 5);
        // Annotated: all but the four voxels of the ignore label.
        assert_eq!(found[2].iter().collect::<BTreeSet<_>>().len(), 20);
    }

    #[test]
    fn regions_draw_from_all_their_labels_and_absent_ones_are_empty() {
        let labels = labels(&[("background", &[0]), ("whole", &[1, 2]), ("none", &[7, 8])], None);
        let found = class_locations(&map(), &labels);
        assert_eq!(found[0].iter().collect::<BTreeSet<_>>().len(), 10);
        assert!(found[1].is_empty());
    }

    #[test]
    fn of_a_large_class_a_part_is_kept() {
        let map = Volume::filled([1, 30, 100, 100], 1);
        let found = class_locations(&map, &labels(&[("background", &[0]), ("a", &[1])], None));
        assert_eq!(found[0].len(), 10_000);
        assert_eq!(found[0].iter().collect::<BTreeSet<_>>().len(), 10_000);
    }
}
