//! Makes the patch of one target: what a case has of it, moved with its image, or derived from another target's patch.

use imaging::Volume;
use imaging::augment::Recipe;
use imaging::derive::{DistanceScratch, SkeletonScratch, boundary, signed_distance, skeleton};

use super::Levels;
use super::batch::{TargetBatch, coarsen, region_channels};
use crate::dataset::{Labels, Operation, TargetKind};

/// Memory for derived targets.
#[derive(Debug, Default)]
pub(super) struct DeriveMemory {
    /// Where the label map is foreground.
    foreground: Vec<bool>,
    /// The label map with background wherever it is no foreground.
    cleaned: Vec<i16>,
    /// What was made of it.
    labels: Vec<i16>,
    distance: DistanceScratch,
    skeleton: SkeletonScratch,
}

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

/// A label map that a target is derived from.
pub(super) struct Origin<'a> {
    /// What its labels mean.
    pub kind: &'a Labels,
    /// Its patch, in which -1 is what lies outside and counts as background.
    pub labels: &'a [i16],
    /// (Z, Y, X).
    pub patch: [usize; 3],
    /// (z, y, x) in mm.
    pub spacing: [f64; 3],
}

/// Sets sample `index` to what `operation` makes of a label map. Where that has its ignore label, nothing is known; nor is a
/// distance where the patch shows no border.
pub(super) fn put_derived(
    target: &mut TargetBatch,
    kind: &TargetKind,
    index: usize,
    operation: &Operation,
    origin: &Origin,
    memory: &mut DeriveMemory,
) {
    let Origin { labels, patch, spacing, .. } = *origin;
    let ignore = origin.kind.ignore;
    let is_foreground = |label: i16| label > 0 && Some(label) != ignore;
    memory.foreground.clear();
    memory.foreground.extend(labels.iter().map(|label| is_foreground(*label)));
    memory.labels.resize(labels.len(), 0);
    let derived = &mut memory.labels[..];
    let mut known = true;
    match operation {
        Operation::SignedDistance => {
            let Levels::Regression(levels) = &mut target.levels else { unreachable!("distances are real numbers") };
            known = signed_distance(&memory.foreground, patch, spacing, levels[0].slot(index), &mut memory.distance);
            coarsen(levels, index);
        }
        Operation::Boundary => {
            memory.cleaned.clear();
            memory.cleaned.extend(labels.iter().map(|label| if is_foreground(*label) { *label } else { 0 }));
            boundary(&memory.cleaned, patch, derived);
        }
        Operation::Skeleton => skeleton(&memory.foreground, patch, derived, &mut memory.skeleton),
        Operation::Subset(names) => subset(origin.kind, names, labels, derived),
    }
    if let TargetKind::Labels(kind) = kind {
        put_labels(target, kind, index, &memory.labels);
    }
    let ignored = ignore.is_some_and(|ignore| labels.contains(&ignore));
    if !known || ignored {
        target.mask(index).iter_mut().zip(labels).for_each(|(valid, label)| *valid = known && Some(*label) != ignore);
    }
    target.set_present(index, known && !ignored);
}

/// Number `i + 1` where a label belongs to `names[i]`, the last one that it belongs to; else 0.
fn subset(kind: &Labels, names: &[String], labels: &[i16], out: &mut [i16]) {
    let values: Vec<&[i16]> = names.iter().map(|name| kind.names.get(name).map_or(&[][..], Vec::as_slice)).collect();
    for (out, label) in out.iter_mut().zip(labels) {
        *out = values.iter().rposition(|values| values.contains(label)).map_or(0, |position| position as i16 + 1);
    }
}
