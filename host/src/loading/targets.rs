//! Fills the arrays of one target, sample by sample.

use imaging::Volume;
use imaging::augment::{AugmentedTarget, downsample_nearest};

use super::{Array, Levels, TargetBatch};
use crate::dataset::{Labels, TargetKind};

/// What one case has of a target: cut to the patch, or the class of the whole case.
#[derive(Debug)]
pub(super) enum SampleTarget {
    Patch(AugmentedTarget),
    Class(usize),
}

/// One target of a batch that is being put together.
pub(super) struct TargetBuilder<'a> {
    kind: &'a TargetKind,
    target: TargetBatch,
}

impl<'a> TargetBuilder<'a> {
    /// Arrays for `batch_size` patches with deep-supervision levels of sizes `shapes`; all is absent so far.
    pub(super) fn new(kind: &'a TargetKind, batch_size: usize, shapes: &[[usize; 3]]) -> Self {
        let levels = match kind {
            TargetKind::Labels(labels) if labels.has_regions() => {
                Levels::Regions(arrays(batch_size, region_channels(labels).len(), shapes, false))
            }
            TargetKind::Labels(_) => Levels::Labels(arrays(batch_size, 1, shapes, 0)),
            TargetKind::Regression { channels, .. } => Levels::Regression(arrays(batch_size, *channels, shapes, 0.0)),
            TargetKind::Class { .. } => Levels::Class(Array::filled(vec![batch_size], 0)),
        };
        let valid = match kind {
            TargetKind::Class { .. } => Vec::new(),
            _ => arrays(batch_size, 1, shapes, false),
        };
        Self { kind, target: TargetBatch { levels, valid, presence: vec![false; batch_size] } }
    }

    /// Sets the patch of sample `index`.
    pub(super) fn put(&mut self, index: usize, sample: SampleTarget) {
        let TargetBatch { levels, valid, presence } = &mut self.target;
        presence[index] = true;
        match (levels, sample) {
            (Levels::Labels(levels), SampleTarget::Patch(AugmentedTarget::Labels(labels))) => {
                fill(levels, index, &labels, |label, slot| {
                    slot.iter_mut().zip(label).for_each(|(out, label)| *out = i64::from((*label).max(0)));
                });
                valid.iter_mut().for_each(|level| level.slot(index).fill(true));
            }
            (Levels::Regions(levels), SampleTarget::Patch(AugmentedTarget::Labels(labels))) => {
                let TargetKind::Labels(meaning) = self.kind else { unreachable!("regions are labels") };
                let regions = region_channels(meaning);
                fill(levels, index, &labels, |label, slot| {
                    for (channel, region) in slot.chunks_exact_mut(label.len()).zip(&regions) {
                        channel.iter_mut().zip(label).for_each(|(out, label)| *out = region.contains(&(*label).max(0)));
                    }
                });
                valid.iter_mut().for_each(|level| level.slot(index).fill(true));
            }
            (Levels::Regression(levels), SampleTarget::Patch(AugmentedTarget::Regression { values, valid: inside })) => {
                fill(levels, index, &values, |values, slot| slot.copy_from_slice(values));
                fill(valid, index, &inside, |inside, slot| slot.copy_from_slice(inside));
            }
            (Levels::Class(classes), SampleTarget::Class(class)) => classes.data[index] = class as i64,
            (_, sample) => unreachable!("{sample:?} is not of its target's kind"),
        }
    }

    pub(super) fn finish(mut self) -> TargetBatch {
        if self.target.valid.iter().all(|level| level.data.iter().all(|valid| *valid)) {
            self.target.valid.clear();
        }
        self.target
    }
}

/// The label values of every region channel, the ignore label last.
fn region_channels(labels: &Labels) -> Vec<Vec<i16>> {
    let regions = labels.foreground().into_iter().map(|(_, values)| values);
    regions.chain(labels.ignore.map(|ignore| vec![ignore])).collect()
}

fn arrays<T: Copy>(batch_size: usize, channels: usize, shapes: &[[usize; 3]], value: T) -> Vec<Array<T>> {
    shapes.iter().map(|[z, y, x]| Array::filled(vec![batch_size, channels, *z, *y, *x], value)).collect()
}

/// Calls `write` with the voxels of every level and the place for them in sample `index`. Coarser levels pick the voxels
/// nearest to theirs (nnU-Net `DownsampleSegForDSTransform`), so labels stay labels.
fn fill<T: Copy, U: Copy>(levels: &mut [Array<U>], index: usize, patch: &Volume<T>, write: impl Fn(&[T], &mut [U])) {
    for level in levels {
        let shape = [level.shape[2], level.shape[3], level.shape[4]];
        if shape == patch.spatial() {
            write(patch.data(), level.slot(index));
        } else {
            write(downsample_nearest(patch.view(), shape).data(), level.slot(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;

    fn labels(names: &[(&str, &[i16])], ignore: Option<i16>) -> TargetKind {
        let names: IndexMap<_, _> = names.iter().map(|(name, values)| ((*name).to_owned(), values.to_vec())).collect();
        TargetKind::Labels(Labels { names, ignore, region_order: None })
    }

    fn patch() -> SampleTarget {
        SampleTarget::Patch(AugmentedTarget::Labels(Volume::new([1, 1, 2, 4], vec![-1, 1, 2, 3, 0, 2, 3, 1])))
    }

    const SHAPES: [[usize; 3]; 2] = [[1, 2, 4], [1, 1, 2]];

    #[test]
    fn labels_lose_their_padding_and_keep_the_ignore_label() {
        let kind = labels(&[("background", &[0]), ("a", &[1]), ("b", &[2])], Some(3));
        let mut builder = TargetBuilder::new(&kind, 2, &SHAPES);
        builder.put(1, patch());
        let target = builder.finish();
        let Levels::Labels(levels) = &target.levels else { panic!("wrong kind") };
        assert_eq!(levels[0].shape, [2, 1, 1, 2, 4]);
        assert_eq!(levels[0].data, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 2, 3, 1]);
        // Row 1 of 2, columns 1 and 3 of 4.
        assert_eq!(levels[1].data, [0, 0, 2, 1]);
        assert_eq!(target.presence, [false, true]);
        assert_eq!(target.valid[1].data, [false, false, true, true]);
    }

    #[test]
    fn regions_become_channels_with_the_ignore_label_last() {
        let kind = labels(&[("background", &[0]), ("whole", &[1, 2]), ("core", &[2])], Some(3));
        let mut builder = TargetBuilder::new(&kind, 1, &SHAPES);
        builder.put(0, patch());
        let target = builder.finish();
        let Levels::Regions(levels) = &target.levels else { panic!("wrong kind") };
        assert_eq!(levels[0].shape, [1, 3, 1, 2, 4]);
        let ones = |row: &[bool]| row.iter().map(|v| u8::from(*v)).collect::<Vec<_>>();
        assert_eq!(ones(&levels[0].data[..8]), [0, 1, 1, 0, 0, 1, 0, 1]);
        assert_eq!(ones(&levels[0].data[8..16]), [0, 0, 1, 0, 0, 1, 0, 0]);
        assert_eq!(ones(&levels[0].data[16..]), [0, 0, 0, 1, 0, 0, 1, 0]);
        assert_eq!(ones(&levels[1].data), [1, 1, 1, 0, 0, 0]);
        assert!(target.valid.is_empty(), "all is valid");
    }
}
