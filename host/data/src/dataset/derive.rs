//! Derived targets: what follows from the label map of another target, of a patch or of a whole case.

use imaging::derive::{DistanceScratch, SkeletonScratch, boundary, distance_to_nearest, signed_distance, skeleton};

use super::{Labels, Operation};

/// A label map that a target is derived from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// What its labels mean.
    pub kind: &'a Labels,
    /// The map, (Z, Y, X). -1 is what lies outside and counts as background; so does the ignore label.
    pub labels: &'a [i16],
    /// Its shape (Z, Y, X).
    pub spatial: [usize; 3],
    /// (z, y, x) in mm.
    pub spacing: [f64; 3],
}

/// Where a derived target goes, (Z, Y, X): labels or real numbers, as [`Operation`] says.
#[derive(Debug)]
pub enum Derived<'a> {
    /// Numbers of the names that the operation gives, 0 for background.
    Labels(&'a mut [i16]),
    /// Distances in mm.
    Values(&'a mut [f32]),
}

/// Memory that is used for one map after the other.
#[derive(Debug, Default)]
pub struct DeriveMemory {
    /// Where the label map is foreground.
    foreground: Vec<bool>,
    /// The label map with background wherever it is no foreground.
    cleaned: Vec<i16>,
    /// Where it has its ignore label, and how far that is.
    ignored: Vec<bool>,
    to_ignored: Vec<f32>,
    distance: DistanceScratch,
    skeleton: SkeletonScratch,
}

/// Writes what `operation` makes of `origin` to `out`. False when nothing is known, since a distance has no border to go to.
///
/// # Panics
/// When `out` is of the wrong kind or size.
pub fn derive(operation: &Operation, origin: &Origin, memory: &mut DeriveMemory, out: Derived) -> bool {
    let Origin { kind, labels, spatial, spacing } = *origin;
    let is_foreground = |label: i16| label > 0 && Some(label) != kind.ignore;
    let DeriveMemory { foreground, cleaned, distance, skeleton: thinning, .. } = memory;
    foreground.clear();
    foreground.extend(labels.iter().map(|label| is_foreground(*label)));
    match (operation, out) {
        (Operation::SignedDistance, Derived::Values(out)) => return signed_distance(foreground, spatial, spacing, out, distance),
        (Operation::Boundary, Derived::Labels(out)) => {
            cleaned.clear();
            cleaned.extend(labels.iter().map(|label| if is_foreground(*label) { *label } else { 0 }));
            boundary(cleaned, spatial, out);
        }
        (Operation::Skeleton, Derived::Labels(out)) => skeleton(foreground, spatial, out, thinning),
        (Operation::Subset(names), Derived::Labels(out)) => subset(kind, names, labels, out),
        (operation, out) => unreachable!("{operation:?} does not make {out:?}"),
    }
    true
}

/// Clears `valid`, (Z, Y, X), where nothing is known of what [`derive()`] made of `origin`: at its ignore label and, if those are `distances`,
/// where an ignored voxel is nearer than the border, for a nearer border may lie there.
pub fn clear_unknown(origin: &Origin, distances: Option<&[f32]>, memory: &mut DeriveMemory, valid: &mut [bool]) {
    let Some(ignore) = origin.kind.ignore.filter(|ignore| origin.labels.contains(ignore)) else { return };
    let DeriveMemory { ignored, to_ignored, distance, .. } = memory;
    ignored.clear();
    ignored.extend(origin.labels.iter().map(|label| *label == ignore));
    valid.iter_mut().zip(&*ignored).for_each(|(valid, ignored)| *valid &= !ignored);
    if let Some(distances) = distances {
        to_ignored.resize(ignored.len(), 0.0);
        distance_to_nearest(ignored, origin.spatial, origin.spacing, to_ignored, distance);
        for ((valid, distance), to_ignored) in valid.iter_mut().zip(distances).zip(to_ignored) {
            *valid &= distance.abs() <= *to_ignored;
        }
    }
}

/// Number `i + 1` where a label belongs to `names[i]`, the last one that it belongs to; else 0.
fn subset(kind: &Labels, names: &[String], labels: &[i16], out: &mut [i16]) {
    let values: Vec<&[i16]> = names.iter().map(|name| kind.names.get(name).map_or(&[][..], Vec::as_slice)).collect();
    for (out, label) in out.iter_mut().zip(labels) {
        *out = values.iter().rposition(|values| values.contains(label)).map_or(0, |position| position as i16 + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignore_label_and_what_lies_outside_are_background() {
        let names = [("background", vec![0]), ("whole", vec![1, 2]), ("core", vec![2])].map(|(name, values)| (name.to_owned(), values));
        let kind = Labels { names: names.into(), ignore: Some(3), ..Labels::default() };
        let labels = [-1, 1, 1, 2, 3, 3, 0, 0];
        let origin = Origin { kind: &kind, labels: &labels, spatial: [1, 1, 8], spacing: [1.0, 1.0, 0.5] };
        let memory = &mut DeriveMemory::default();
        let mut found = [9; 8];
        let mut labels_of = |operation: Operation| {
            assert!(derive(&operation, &origin, &mut DeriveMemory::default(), Derived::Labels(&mut found)));
            found
        };
        assert_eq!(labels_of(Operation::Boundary), [0, 1, 1, 1, 0, 0, 0, 0]);
        assert_eq!(labels_of(Operation::Subset(vec!["core".to_owned(), "whole".to_owned()])), [0, 2, 2, 2, 0, 0, 0, 0]);
        assert_eq!(labels_of(Operation::Subset(vec!["whole".to_owned(), "core".to_owned()])), [0, 1, 1, 2, 0, 0, 0, 0]);
        let mut distances = [9.0; 8];
        assert!(derive(&Operation::SignedDistance, &origin, memory, Derived::Values(&mut distances)));
        assert_eq!(distances, [0.5, -0.5, -1.0, -0.5, 0.5, 1.0, 1.5, 2.0]);
        let nothing = Origin { labels: &[3; 8], ..origin };
        assert!(!derive(&Operation::SignedDistance, &nothing, memory, Derived::Values(&mut distances)));
        assert_eq!(distances, [0.0; 8]);
    }
}
