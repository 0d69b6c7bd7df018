//! Removes what is predicted apart from the rest.

use crate::Volume;
use crate::mask::{Bits, Components};

/// Of the voxels of `map` that have one of `labels`, keeps those of the largest connected component, where voxels that share a corner are
/// connected, and sets the others to 0 (nnU-Net, `remove_all_but_largest_component_from_segmentation`). Components that are equally large
/// all stay.
pub fn keep_largest_component(map: &mut Volume<i16>, labels: &[i16]) {
    let spatial = map.spatial();
    let (mut mask, mut components) = (Bits::default(), Components::default());
    mask.pack(map.data(), spatial, |label| labels.contains(&label));
    components.find(&mask);
    components.clear_all_but_largest(map.data_mut(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_all_named_labels_stays() {
        // Two labels that touch at a corner, one voxel of either apart, and a third label that is not asked for.
        let map = || Volume::new([1, 1, 3, 8], vec![1, 1, 0, 0, 0, 1, 0, 3, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]);
        let mut both = map();
        keep_largest_component(&mut both, &[1, 2]);
        assert_eq!(both.data(), [1, 1, 0, 0, 0, 0, 0, 3, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut second = map();
        keep_largest_component(&mut second, &[2]);
        assert_eq!(second.data(), [1, 1, 0, 0, 0, 1, 0, 3, 0, 0, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut equal = Volume::new([1, 1, 1, 3], vec![1, 0, 1]);
        keep_largest_component(&mut equal, &[1]);
        assert_eq!(equal.data(), [1, 0, 1]);
    }
}
