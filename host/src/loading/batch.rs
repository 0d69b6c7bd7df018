//! What a training step gets.

use imaging::VolumeView;
use imaging::augment::downsample_nearest;
use indexmap::IndexMap;

use super::{LoaderOptions, Source};
use data::dataset::{Labels, TargetKind};
use data::kinds::Regression;

/// A dense array in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// Length of every axis.
    pub shape: Vec<usize>,
    /// All elements.
    pub data: Vec<T>,
}

impl<T: Copy> Array<T> {
    /// An array that holds `value` everywhere.
    pub fn filled(shape: Vec<usize>, value: T) -> Self {
        let data = vec![value; shape.iter().product()];
        Self { shape, data }
    }

    /// The part that belongs to sample `index`.
    pub fn sample(&self, index: usize) -> &[T] {
        let size = self.shape[1..].iter().product::<usize>();
        &self.data[index * size..(index + 1) * size]
    }

    /// The part that belongs to sample `index`, to be written.
    pub(crate) fn slot(&mut self, index: usize) -> &mut [T] {
        let size = self.shape[1..].iter().product::<usize>();
        &mut self.data[index * size..(index + 1) * size]
    }
}

/// Patches of several cases, with everything that is to be learned from them.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// (B, C, Z, Y, X); Z = 1 in 2D.
    pub image: Array<f32>,
    /// Ids of the cases, (B,).
    pub cases: Vec<String>,
    /// By name.
    pub targets: IndexMap<String, TargetBatch>,
}

/// The patches of one target.
#[derive(Clone, Debug)]
pub struct TargetBatch {
    /// Its values. Those of cases that lack the target are zero.
    pub levels: Levels,
    /// (B,): whether the case has this target.
    pub presence: Vec<bool>,
    /// See [`Self::valid`]; kept also where it says nothing, so that its memory is used again.
    pub(crate) mask: Vec<Array<bool>>,
    all_valid: bool,
}

/// Values of a target, one array for each level of deep supervision, finest first.
#[derive(Clone, Debug, PartialEq)]
pub enum Levels {
    /// (B, 1, Z, Y, X). What lies outside is background (0); the ignore label is kept.
    Labels(Vec<Array<i16>>),
    /// (B, R, Z, Y, X): one channel for each region, in the order of `Labels::foreground`; with an ignore label one more, which
    /// is true where that is.
    Regions(Vec<Array<bool>>),
    /// (B, C, Z, Y, X).
    Regression(Vec<Array<f32>>),
    /// (B,): index of the class of the whole case.
    Class(Array<i64>),
}

impl Batch {
    /// A batch with room for what `options` ask of `source`.
    pub(super) fn new(source: &Source, options: &LoaderOptions) -> Self {
        let [z, y, x] = options.patch;
        let size = options.samples();
        Self {
            image: Array::filled(vec![size, source.channels(), z, y, x], 0.0),
            cases: vec![String::new(); size],
            targets: source.targets.iter().map(|(name, target)| (name.clone(), TargetBatch::new(&target.kind, options))).collect(),
        }
    }

    /// To be called when all samples are set.
    pub(super) fn finish(&mut self) {
        self.targets.values_mut().for_each(TargetBatch::finish);
    }
}

impl TargetBatch {
    pub(crate) fn new(kind: &TargetKind, options: &LoaderOptions) -> Self {
        let (size, shapes) = (options.samples(), &options.levels);
        let levels = match kind {
            TargetKind::Labels(labels) if labels.has_regions() => Levels::Regions(arrays(size, labels.target_channels(), shapes, false)),
            TargetKind::Labels(_) => Levels::Labels(arrays(size, 1, shapes, 0)),
            TargetKind::Regression(Regression { channels, .. }) => Levels::Regression(arrays(size, *channels, shapes, 0.0)),
            TargetKind::Class(_) => Levels::Class(Array::filled(vec![size], 0)),
        };
        let mask = match kind {
            TargetKind::Class(_) => Vec::new(),
            _ => arrays(size, 1, shapes, true),
        };
        Self { levels, presence: vec![false; size], mask, all_valid: true }
    }

    /// For each level (B, 1, Z, Y, X): where the target says anything. False where a case lacks it, outside the volume (regression and derived
    /// targets), where what it is derived from says nothing, and where the plugin that made it says so. Empty when it says something everywhere,
    /// and for classes of whole cases, where `presence` tells.
    pub fn valid(&self) -> &[Array<bool>] {
        if self.all_valid { &[] } else { &self.mask }
    }

    /// Says that sample `index` lacks the target.
    pub(crate) fn set_absent(&mut self, index: usize) {
        self.presence[index] = false;
        match &mut self.levels {
            Levels::Labels(levels) => levels.iter_mut().for_each(|level| level.slot(index).fill(0)),
            Levels::Regions(levels) => levels.iter_mut().for_each(|level| level.slot(index).fill(false)),
            Levels::Regression(levels) => levels.iter_mut().for_each(|level| level.slot(index).fill(0.0)),
            Levels::Class(classes) => classes.data[index] = 0,
        }
        self.mask.iter_mut().for_each(|level| level.slot(index).fill(false));
    }

    /// Says that sample `index` has the target, and where that says anything: everywhere, or where `mask` at the finest level has been set.
    pub(crate) fn set_present(&mut self, index: usize, everywhere: bool) {
        self.presence[index] = true;
        if everywhere {
            self.mask.iter_mut().for_each(|level| level.slot(index).fill(true));
        } else {
            coarsen(&mut self.mask, index);
        }
    }

    /// Where sample `index` says anything, at the finest level.
    pub(super) fn mask(&mut self, index: usize) -> &mut [bool] {
        self.mask[0].slot(index)
    }

    /// Sets the coarser levels of sample `index` to what the finest says.
    pub(crate) fn coarsen(&mut self, index: usize) {
        match &mut self.levels {
            Levels::Labels(levels) => coarsen(levels, index),
            Levels::Regions(levels) => coarsen(levels, index),
            Levels::Regression(levels) => coarsen(levels, index),
            Levels::Class(_) => {}
        }
    }

    /// To be called when all samples are set.
    pub(crate) fn finish(&mut self) {
        self.all_valid = self.mask.iter().all(|level| level.data.iter().all(|valid| *valid));
    }
}

impl PartialEq for TargetBatch {
    fn eq(&self, other: &Self) -> bool {
        self.levels == other.levels && self.presence == other.presence && self.valid() == other.valid()
    }
}

/// Sets the coarser levels of sample `index` to the voxels of the finest one that are nearest to theirs (nnU-Net
/// `DownsampleSegForDSTransform`), so that labels stay labels.
pub(super) fn coarsen<T: Copy>(levels: &mut [Array<T>], index: usize) {
    let Some((finest, coarser)) = levels.split_first_mut() else { return };
    let shape = [finest.shape[1], finest.shape[2], finest.shape[3], finest.shape[4]];
    let data = &*finest.slot(index);
    for level in coarser {
        let size = [level.shape[2], level.shape[3], level.shape[4]];
        downsample_nearest(VolumeView { shape, data }, size, level.slot(index));
    }
}

/// The label values of every region channel, the ignore label last.
pub(super) fn region_channels(labels: &Labels) -> Vec<Vec<i16>> {
    let regions = labels.foreground().into_iter().map(|(_, values)| values);
    regions.chain(labels.ignore.map(|ignore| vec![ignore])).collect()
}

fn arrays<T: Copy>(batch_size: usize, channels: usize, shapes: &[[usize; 3]], value: T) -> Vec<Array<T>> {
    shapes.iter().map(|[z, y, x]| Array::filled(vec![batch_size, channels, *z, *y, *x], value)).collect()
}
