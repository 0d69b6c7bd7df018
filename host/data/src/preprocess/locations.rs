//! Where the voxels of every class are, so that patches can be centred on them.

use std::collections::BTreeMap;

use imaging::Volume;

use crate::dataset::Labels;
use crate::numpy::RandomState;

const SEED: u32 = 1234;
const MIN_SAMPLES: usize = 10_000;
/// Voxels that are looked at together: most are of one value throughout.
const STRETCH: usize = 64;

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
    let voxels = voxels_by_value(map.data(), wanted.iter().flatten());
    let mut random = RandomState::new(SEED);
    let [_, height, width] = map.spatial();
    let position = |index: u32| {
        let index = index as usize;
        [index / width / height, index / width % height, index % width].map(|coordinate| coordinate as i32)
    };
    wanted
        .iter()
        .map(|values| {
            let lists: Vec<&Vec<u32>> = values.iter().map(|value| &voxels[value]).collect();
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

/// Indices of the voxels of every wanted value, ascending.
fn voxels_by_value<'a>(map: &[i16], wanted: impl Iterator<Item = &'a i16>) -> BTreeMap<i16, Vec<u32>> {
    let mut lists: BTreeMap<i16, Vec<u32>> = wanted.map(|value| (*value, Vec::new())).collect();
    // Where a value's list is: there may be hundreds of values.
    let mut list_of = vec![None; 1 << 16];
    for (list, value) in lists.keys().enumerate() {
        list_of[*value as u16 as usize] = Some(list as u16);
    }
    let mut voxels: Vec<&mut Vec<u32>> = lists.values_mut().collect();
    for (stretch, values) in map.chunks(STRETCH).enumerate() {
        let start = (stretch * STRETCH) as u32;
        let list = |value: i16| list_of[value as u16 as usize].map(usize::from);
        // Every bit in which a value differs from the first.
        if values.iter().fold(0, |bits, value| bits | (value ^ values[0])) == 0 {
            if let Some(list) = list(values[0]) {
                voxels[list].extend(start..start + values.len() as u32);
            }
            continue;
        }
        for (index, value) in (start..).zip(values) {
            if let Some(list) = list(*value) {
                voxels[list].push(index);
            }
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use indexmap::IndexMap;

    use super::*;

    fn labels(names: &[(&str, &[i16])], ignore: Option<i16>) -> Labels {
        let names: IndexMap<_, _> = names.iter().map(|(name, values)| ((*name).to_owned(), values.to_vec())).collect();
        Labels { names, ignore, ..Labels::default() }
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

    #[derive(serde::Deserialize)]
    struct Golden {
        labels: Vec<Vec<i16>>,
        drawn: Vec<(usize, u32)>,
    }

    /// Classes, regions and an ignore label, of all sizes; some are absent, of others only a part is kept.
    #[test]
    fn voxels_and_their_order_are_nnunets() {
        let golden = include_bytes!("../../../../tests/golden/fingerprint.safetensors");
        let tensors = safetensors::SafeTensors::deserialize(golden).expect("safetensors");
        let tensor = tensors.tensor("locations.labels").expect("there");
        let [depth, height, width] = tensor.shape().try_into().expect("three axes");
        let map = Volume::new([1, depth, height, width], tensor.data().iter().map(|label| *label as i8 as i16).collect());
        let (_, metadata) = safetensors::SafeTensors::read_metadata(golden).expect("safetensors");
        let metadata = metadata.metadata().clone().expect("metadata");
        let metadata: serde_json::Value = serde_json::from_str(&metadata["fingerprint"]).expect("JSON");
        let goldens: IndexMap<String, Golden> = serde_json::from_value(metadata["locations"].clone()).expect("locations");
        assert_eq!(goldens.len(), 3);
        for (name, Golden { labels, drawn }) in goldens {
            let ignore = (name == "ignore").then_some(4);
            let names = std::iter::once(("background".to_owned(), vec![0]))
                .chain(labels.into_iter().enumerate().map(|(index, values)| (format!("{index}"), values)))
                .collect();
            let found = class_locations(&map, &Labels { names, ignore, ..Labels::default() });
            let digest = |voxels: &Vec<[i32; 3]>| {
                let coordinates = voxels.as_flattened().iter();
                (voxels.len(), coordinates.fold(0u32, |digest, value| digest.wrapping_mul(31).wrapping_add(*value as u32)))
            };
            assert_eq!(found.iter().map(digest).collect::<Vec<_>>(), drawn, "{name}");
        }
    }

    #[test]
    fn stretches_of_one_value_and_mixed_ones_are_told_apart() {
        // One of a wanted value, one of another, one that only its last voxel spoils, and what is left at the end.
        let mut map = vec![1; STRETCH];
        map.extend([0; STRETCH]);
        map.extend([-1; STRETCH - 1]);
        map.extend([1, 1, 2]);
        let found = voxels_by_value(&map, [1, -1, 7].iter());
        let stretch = STRETCH as u32;
        assert_eq!(found[&1], (0..stretch).chain([3 * stretch - 1, 3 * stretch]).collect::<Vec<_>>());
        assert_eq!(found[&-1], (2 * stretch..3 * stretch - 1).collect::<Vec<_>>());
        assert!(found[&7].is_empty() && found.len() == 3);
    }

    #[test]
    fn of_a_large_class_a_part_is_kept() {
        let map = Volume::filled([1, 30, 100, 100], 1);
        let found = class_locations(&map, &labels(&[("background", &[0]), ("a", &[1])], None));
        assert_eq!(found[0].len(), 10_000);
        assert_eq!(found[0].iter().collect::<BTreeSet<_>>().len(), 10_000);
    }
}
