//! Which part of a case a sample shows, by the rules of nnU-Net's `data_loader.py`.

use rand::{Rng, RngExt};

/// Whether sample `index` of a batch must show foreground: the last ones must.
///
/// `not index < round(batch_size * (1 - share))`, with Python's rounding of halves to even.
pub(super) fn must_show_foreground(index: usize, batch_size: usize, share: f64) -> bool {
    index as f64 >= (batch_size as f64 * (1.0 - share)).round_ties_even()
}

/// Voxels (z, y, x) that a patch may be centred on.
#[derive(Debug, Default)]
pub(super) struct Locations<'a> {
    /// For each class or region that the case has.
    pub foreground: Vec<&'a [[i32; 3]]>,
    /// Annotated voxels of any label; only with an ignore label.
    pub annotated: Option<&'a [[i32; 3]]>,
}

impl<'a> Locations<'a> {
    /// Voxels of a class that is drawn from those of the case; annotated ones when it has none of them.
    fn of_a_class(&self, rng: &mut impl Rng) -> Option<&'a [[i32; 3]]> {
        match self.foreground.len() {
            0 => self.annotated,
            classes => Some(self.foreground[rng.random_range(0..classes)]),
        }
    }
}

/// Lower corner of a patch in a case of spatial shape `shape`; it may lie outside.
///
/// Patches are drawn uniformly from all that lie within the case; along an axis that is shorter than the patch, from the two
/// ways (or one) of centring it. With `show_foreground` the patch is centred on a voxel of a random class instead; it may then reach
/// beyond the upper border, but not beyond the lower one. With an ignore label all other patches are centred on annotated voxels.
pub(super) fn patch_origin(
    shape: [usize; 3],
    patch: [usize; 3],
    show_foreground: bool,
    locations: &Locations,
    rng: &mut impl Rng,
) -> [i64; 3] {
    let bounds: [(i64, i64); 3] = std::array::from_fn(|axis| {
        let (size, patch) = (shape[axis] as i64, patch[axis] as i64);
        let missing = (patch - size).max(0);
        (-(missing + 1).div_euclid(2), size - patch + missing.div_euclid(2) + missing % 2)
    });
    let voxels = if show_foreground { locations.of_a_class(rng) } else { locations.annotated };
    match voxels.filter(|voxels| !voxels.is_empty()) {
        Some(voxels) => {
            let voxel = voxels[rng.random_range(0..voxels.len())];
            std::array::from_fn(|axis| (i64::from(voxel[axis]) - patch[axis] as i64 / 2).max(bounds[axis].0))
        }
        None => bounds.map(|(low, high)| rng.random_range(low..=high)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn origins(shape: [usize; 3], patch: [usize; 3], show_foreground: bool, locations: &Locations) -> BTreeSet<[i64; 3]> {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        (0..3000).map(|_| patch_origin(shape, patch, show_foreground, locations, &mut rng)).collect()
    }

    #[test]
    fn the_last_third_of_a_batch_shows_foreground() {
        let forced = |batch_size| (0..batch_size).filter(|&i| must_show_foreground(i, batch_size, 0.33)).collect::<Vec<_>>();
        assert_eq!(forced(2), [1]);
        assert_eq!(forced(5), [3, 4]);
        assert_eq!(forced(12), [8, 9, 10, 11]);
        assert!(must_show_foreground(0, 1, 1.0) && !must_show_foreground(1, 2, 0.0));
        // round(2.5) is 2 in Python: sample 2 of 5 is forced at a share of one half.
        assert!(must_show_foreground(2, 5, 0.5) && !must_show_foreground(1, 5, 0.5));
    }

    #[test]
    fn random_patches_lie_within_or_are_centred() {
        // Axis 0 is longer than the patch, axis 1 as long, axis 2 shorter by an odd number.
        let found = origins([6, 4, 5], [4, 4, 8], false, &Locations::default());
        let expected = (0..=2).flat_map(|z| [[z, 0, -2], [z, 0, -1]]).collect::<BTreeSet<_>>();
        assert_eq!(found, expected);
    }

    #[test]
    fn forced_patches_are_centred_on_a_voxel_and_bounded_below_only() {
        let (low, high): (&[[i32; 3]], &[[i32; 3]]) = (&[[0, 9, 9]], &[[19, 10, 12]]);
        let locations = Locations { foreground: vec![low, high], annotated: None };
        let found = origins([20; 3], [8; 3], true, &locations);
        assert_eq!(found, BTreeSet::from([[0, 5, 5], [15, 6, 8]]));
        assert!(origins([20; 3], [8; 3], false, &locations).len() > 500, "patches that are not forced lie anywhere");
    }

    #[test]
    fn with_an_ignore_label_every_patch_is_centred_on_annotated_voxels() {
        let (class, annotated): (&[[i32; 3]], &[[i32; 3]]) = (&[[10, 10, 10]], &[[4, 4, 4]]);
        let both = Locations { foreground: vec![class], annotated: Some(annotated) };
        assert_eq!(origins([20; 3], [8; 3], true, &both), BTreeSet::from([[6, 6, 6]]));
        assert_eq!(origins([20; 3], [8; 3], false, &both), BTreeSet::from([[0, 0, 0]]));
        let no_class = Locations { foreground: vec![], annotated: Some(annotated) };
        assert_eq!(origins([20; 3], [8; 3], true, &no_class), BTreeSet::from([[0, 0, 0]]));
    }

    #[test]
    fn a_slice_is_a_patch_of_depth_one() {
        let voxels: &[[i32; 3]] = &[[7, 5, 5]];
        let locations = Locations { foreground: vec![voxels], annotated: None };
        assert_eq!(origins([9, 10, 10], [1, 4, 4], true, &locations), BTreeSet::from([[7, 3, 3]]));
        let slices: BTreeSet<i64> = origins([9, 10, 10], [1, 4, 4], false, &locations).iter().map(|o| o[0]).collect();
        assert_eq!(slices, (0..9).collect());
    }
}
