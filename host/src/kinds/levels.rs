//! The patches of a target in a batch: arrays in the forms that plugins know, one for each level of deep supervision.
//!
//! A kind chooses one of the forms ([`Kind::levels`](super::Kind::levels)) and fills the finest level of each sample; coarser levels, tensors, what
//! plugins see and what is drawn follow from the form.

use imaging::augment::downsample_nearest;
use imaging::{Volume, VolumeView};
use plugin_api::extensions::{Values, ValuesMut};
use tch::kind::Element;
use tch::{Device, Kind as Dtype, TchError, Tensor};

use super::Drawn;

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

impl<T: Element> Array<T> {
    /// As a tensor on `device`. 2D networks get (B, C, Y, X).
    pub(crate) fn tensor(&self, dims: usize, device: Device) -> Result<Tensor, TchError> {
        let mut shape: Vec<i64> = self.shape.iter().map(|size| *size as i64).collect();
        if dims == 2 && shape.len() == 5 {
            shape.remove(2);
        }
        Tensor::f_from_slice(&self.data)?.f_view(shape.as_slice())?.f_to_device(device)
    }
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

impl Levels {
    /// Whether they say something at every voxel.
    pub(crate) fn is_dense(&self) -> bool {
        !matches!(self, Self::Class(_))
    }

    /// Sets sample `index` to zero.
    pub(super) fn clear(&mut self, index: usize) {
        match self {
            Self::Labels(levels) => levels.iter_mut().for_each(|level| level.slot(index).fill(0)),
            Self::Regions(levels) => levels.iter_mut().for_each(|level| level.slot(index).fill(false)),
            Self::Regression(levels) => levels.iter_mut().for_each(|level| level.slot(index).fill(0.0)),
            Self::Class(classes) => classes.data[index] = 0,
        }
    }

    /// Sets the coarser levels of sample `index` to what the finest says.
    pub(super) fn coarsen(&mut self, index: usize) {
        match self {
            Self::Labels(levels) => coarsen(levels, index),
            Self::Regions(levels) => coarsen(levels, index),
            Self::Regression(levels) => coarsen(levels, index),
            Self::Class(_) => {}
        }
    }

    /// Sample `index` at the finest level, as plugins see it.
    pub(crate) fn values(&self, index: usize) -> Values<'_> {
        match self {
            Self::Labels(levels) => Values::Labels(levels[0].sample(index)),
            Self::Regions(levels) => Values::Regions(levels[0].sample(index)),
            Self::Regression(levels) => Values::Regression(levels[0].sample(index)),
            Self::Class(classes) => Values::Class(classes.data[index]),
        }
    }

    /// The same, to be written.
    pub(crate) fn values_mut(&mut self, index: usize) -> ValuesMut<'_> {
        match self {
            Self::Labels(levels) => ValuesMut::Labels(levels[0].slot(index)),
            Self::Regions(levels) => ValuesMut::Regions(levels[0].slot(index)),
            Self::Regression(levels) => ValuesMut::Regression(levels[0].slot(index)),
            Self::Class(classes) => ValuesMut::Class(&mut classes.data[index]),
        }
    }

    /// All levels on `device`, labels as indices (i64). 2D networks get (B, C, Y, X).
    pub(crate) fn tensors(&self, dims: usize, device: Device) -> Result<Vec<Tensor>, TchError> {
        match self {
            // Two bytes a voxel on the way to the device, eight there: losses take them as indices.
            Self::Labels(levels) => all(levels, dims, device)?.iter().map(|level| level.f_to_kind(Dtype::Int64)).collect(),
            Self::Regions(levels) => all(levels, dims, device),
            Self::Regression(levels) => all(levels, dims, device),
            Self::Class(class) => Ok(vec![class.tensor(dims, device)?]),
        }
    }

    /// What is drawn of sample `index`: regions as labels, the last one that a voxel belongs to. None of a class.
    pub(crate) fn drawn(&self, index: usize) -> Option<Drawn> {
        let shape = |shape: &[usize], channels: usize| [channels, shape[2], shape[3], shape[4]];
        Some(match self {
            Self::Labels(levels) => Drawn::Labels(Volume::new(shape(&levels[0].shape, 1), levels[0].sample(index).to_vec())),
            Self::Regions(levels) => Drawn::Labels(paint(shape(&levels[0].shape, 1), levels[0].sample(index))),
            Self::Regression(levels) => {
                Drawn::Values(Volume::new(shape(&levels[0].shape, levels[0].shape[1]), levels[0].sample(index).to_vec()))
            }
            Self::Class(_) => return None,
        })
    }
}

/// Every array on `device`.
pub(crate) fn all<T: Element>(arrays: &[Array<T>], dims: usize, device: Device) -> Result<Vec<Tensor>, TchError> {
    arrays.iter().map(|array| array.tensor(dims, device)).collect()
}

/// Regions as labels: the last one that a voxel belongs to.
fn paint(shape: [usize; 4], regions: &[bool]) -> Volume<i16> {
    let voxels: usize = shape.iter().product();
    let mut labels = vec![0; voxels];
    for (number, region) in regions.chunks_exact(voxels.max(1)).enumerate() {
        labels.iter_mut().zip(region).filter(|(_, inside)| **inside).for_each(|(label, _)| *label = number as i16 + 1);
    }
    Volume::new(shape, labels)
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

/// Arrays (B, C, Z, Y, X) that hold `value`, one for each of `shapes`.
pub(super) fn arrays<T: Copy>(batch_size: usize, channels: usize, shapes: &[[usize; 3]], value: T) -> Vec<Array<T>> {
    shapes.iter().map(|[z, y, x]| Array::filled(vec![batch_size, channels, *z, *y, *x], value)).collect()
}
