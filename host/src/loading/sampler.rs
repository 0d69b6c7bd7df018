//! Which part of a case a sample shows, by the rules of nnU-Net's `data_loader.py`.

use rand::{Rng, RngExt};

use super::Sampling;

impl Sampling {
    /// Whether sample `index` of a batch must show foreground: the last ones must, or each with the same probability.
    ///
    /// The last ones are those with `not index < round(batch_size * (1 - share))`, with Python's rounding of halves to even.
    pub(super) fn must_show_foreground(&self, index: usize, batch_size: usize, rng: &mut impl Rng) -> bool {
        if self.probabilistic {
            return rng.random::<f64>() < self.foreground_share;
        }
        index as f64 >= (batch_size as f64 * (1.0 - self.foreground_share)).round_ties_even()
    }
}

/// A list of voxels in the store: all of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Voxels<'a> {
    pub target: &'a str,
    /// Its number in the store.
    pub class: usize,
    /// Greater than zero.
    pub count: usize,
}

/// Voxels that a patch may be centred on.
#[derive(Debug, Default)]
pub(super) struct Locations<'a> {
    /// For each class or region that the case has.
    pub foreground: Vec<Voxels<'a>>,
    /// Annotated voxels of any label; only with an ignore label.
    pub annotated: Option<Voxels<'a>>,
}

impl<'a> Locations<'a> {
    /// Draws the voxel that a patch is centred on, as its list and its number in it: with `show_foreground` one of a random class of
    /// the case, or an annotated one when it has none of them; else, with an ignore label, an annotated one.
    pub(super) fn draw(&self, show_foreground: bool, rng: &mut impl Rng) -> Option<(Voxels<'a>, usize)> {
        let voxels = match self.foreground.len() {
            classes if show_foreground && classes > 0 => self.foreground[rng.random_range(0..classes)],
            _ => self.annotated?,
        };
        Some((voxels, rng.random_range(0..voxels.count)))
    }
}

/// Lower corner of a patch in a case of spatial shape `shape`; it may lie outside.
///
/// Patches are drawn uniformly from all that lie within the case; along an axis that is shorter than the patch, from the two
/// ways (or one) of centring it. With a `centre` (z, y, x) nothing is drawn; the patch may then reach beyond the upper border, but
/// not beyond the lower one.
pub(super) fn patch_origin(shape: [usize; 3], patch: [usize; 3], centre: Option<[i32; 3]>, rng: &mut impl Rng) -> [i64; 3] {
    let bounds: [(i64, i64); 3] = std::array::from_fn(|axis| {
        let (size, patch) = (shape[axis] as i64, patch[axis] as i64);
        let missing = (patch - size).max(0);
        (-(missing + 1).div_euclid(2), size - patch + missing.div_euclid(2) + missing % 2)
    });
    match centre {
        Some(voxel) => std::array::from_fn(|axis| (i64::from(voxel[axis]) - patch[axis] as i64 / 2).max(bounds[axis].0)),
        None => bounds.map(|(low, high)| rng.random_range(low..=high)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn origins(shape: [usize; 3], patch: [usize; 3], centre: Option<[i32; 3]>) -> BTreeSet<[i64; 3]> {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        (0..3000).map(|_| patch_origin(shape, patch, centre, &mut rng)).collect()
    }

    #[test]
    fn the_last_third_of_a_batch_shows_foreground() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut forced = |foreground_share, batch_size| {
            let sampling = Sampling { foreground_share, ..Sampling::default() };
            (0..batch_size).filter(|&i| sampling.must_show_foreground(i, batch_size, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(forced(0.33, 2), [1]);
        assert_eq!(forced(0.33, 5), [3, 4]);
        assert_eq!(forced(0.33, 12), [8, 9, 10, 11]);
        assert_eq!((forced(1.0, 1), forced(0.0, 2)), (vec![0], vec![]));
        // round(2.5) is 2 in Python: sample 2 of 5 is forced at a share of one half.
        assert_eq!(forced(0.5, 5), [2, 3, 4]);
        let random = Sampling { probabilistic: true, ..Sampling::default() };
        let count = (0..10_000).filter(|_| random.must_show_foreground(0, 2, &mut rng)).count();
        assert!((3150..3450).contains(&count), "{count} of 10000");
    }

    #[test]
    fn random_patches_lie_within_or_are_centred() {
        // Axis 0 is longer than the patch, axis 1 as long, axis 2 shorter by an odd number.
        let found = origins([6, 4, 5], [4, 4, 8], None);
        let expected = (0..=2).flat_map(|z| [[z, 0, -2], [z, 0, -1]]).collect::<BTreeSet<_>>();
        assert_eq!(found, expected);
    }

    #[test]
    fn centred_patches_are_bounded_below_only() {
        assert_eq!(origins([20; 3], [8; 3], Some([0, 9, 9])), BTreeSet::from([[0, 5, 5]]));
        assert_eq!(origins([20; 3], [8; 3], Some([19, 10, 12])), BTreeSet::from([[15, 6, 8]]));
        assert!(origins([20; 3], [8; 3], None).len() > 500, "patches that are not centred lie anywhere");
    }

    #[test]
    fn voxels_are_drawn_from_all_classes_or_from_what_is_annotated() {
        let list = |class, count| Voxels { target: "segmentation", class, count };
        let drawn = |locations: &Locations, show_foreground| {
            let mut rng = ChaCha8Rng::seed_from_u64(2);
            let draws = (0..300).filter_map(|_| locations.draw(show_foreground, &mut rng));
            draws.map(|(voxels, number)| (voxels.class, number)).collect::<BTreeSet<_>>()
        };
        let classes = Locations { foreground: vec![list(0, 1), list(4, 2)], annotated: None };
        assert_eq!(drawn(&classes, true), BTreeSet::from([(0, 0), (4, 0), (4, 1)]));
        assert!(drawn(&classes, false).is_empty());
        let both = Locations { foreground: vec![list(0, 1)], annotated: Some(list(5, 2)) };
        assert_eq!(drawn(&both, true), BTreeSet::from([(0, 0)]));
        assert_eq!(drawn(&both, false), BTreeSet::from([(5, 0), (5, 1)]));
        let no_class = Locations { foreground: vec![], annotated: Some(list(5, 1)) };
        assert_eq!(drawn(&no_class, true), BTreeSet::from([(5, 0)]));
        assert!(drawn(&Locations::default(), true).is_empty());
    }

    #[test]
    fn a_slice_is_a_patch_of_depth_one() {
        assert_eq!(origins([9, 10, 10], [1, 4, 4], Some([7, 5, 5])), BTreeSet::from([[7, 3, 3]]));
        let slices: BTreeSet<i64> = origins([9, 10, 10], [1, 4, 4], None).iter().map(|o| o[0]).collect();
        assert_eq!(slices, (0..9).collect());
    }
}
