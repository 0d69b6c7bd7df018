//! Makes the patch of one target: what a case has of it, moved with its image, or derived from another target's patch.

use imaging::Volume;
use imaging::augment::Recipe;

use super::Levels;
use super::batch::{TargetBatch, coarsen, region_channels};
use crate::dataset::{DeriveMemory, Derived, Labels, Operation, Origin, TargetKind, derive};

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

/// Sets sample `index` to what `operation` makes of a label map. Where that has its ignore label, nothing is known; nor is a
/// distance where the patch shows no border. `labels` is memory for what comes out.
pub(super) fn put_derived(
    target: &mut TargetBatch,
    kind: &TargetKind,
    index: usize,
    operation: &Operation,
    origin: &Origin,
    (memory, labels): (&mut DeriveMemory, &mut Vec<i16>),
) {
    let known = match (kind, &mut target.levels) {
        (_, Levels::Regression(levels)) => {
            let known = derive(operation, origin, memory, Derived::Values(levels[0].slot(index)));
            coarsen(levels, index);
            known
        }
        (TargetKind::Labels(kind), _) => {
            labels.resize(origin.labels.len(), 0);
            let known = derive(operation, origin, memory, Derived::Labels(labels));
            put_labels(target, kind, index, labels);
            known
        }
        _ => unreachable!("nothing else is derived"),
    };
    let ignored = origin.kind.ignore.filter(|ignore| origin.labels.contains(ignore));
    if !known || ignored.is_some() {
        target.mask(index).iter_mut().zip(origin.labels).for_each(|(valid, label)| *valid = known && Some(*label) != ignored);
    }
    target.set_present(index, known && ignored.is_none());
}
