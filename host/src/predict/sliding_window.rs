//! The sliding window: an image larger than the patch, or than memory, is predicted tile by tile, and overlapping tiles are averaged.

use super::fold::{Fold, Tiles, part};
use super::{gaussian, tiles};
use crate::model::Error;
use data::dataset::TargetKind;
use data::plan::Configuration;
use imaging::VolumeView;
use indexmap::IndexMap;
use plugin_api::{Kind, Output, Outputs};
use tch::{Device, Kind as Dtype, Tensor};

/// How an image is covered.
#[derive(Clone, Debug)]
pub struct Window {
    /// 2 or 3; a 2D network sees the image slice by slice.
    pub dims: usize,
    /// (z, y, x).
    pub patch: [usize; 3],
    /// From one tile to the next, as a share of the patch; at most so much, since tiles are spread evenly.
    pub step: f64,
    /// Predictions are averaged over all mirror images along these axes (test-time augmentation), counted from z for 3D and from y for 2D.
    pub mirror: Vec<usize>,
    /// Outputs whose channels are the components `([z,] y, x)` of vectors: a mirror image of these has other signs, too.
    pub vectors: Vec<String>,
    /// Sums of logits in float16, as nnU-Net has them.
    pub half: bool,
}

impl Window {
    /// As nnU-Net has it, for networks of `configuration` that were trained with such patches (z, y, x) and mirror images, and whose outputs have
    /// these `targets`.
    pub fn new(configuration: &Configuration, patch: [usize; 3], mirror: &[usize], targets: &IndexMap<String, TargetKind>) -> Self {
        Self { dims: configuration.dims(), patch, step: 0.5, mirror: mirror.to_vec(), vectors: vector_outputs(targets), half: false }
    }
}

/// Outputs whose channels are components of vectors.
fn vector_outputs(targets: &IndexMap<String, TargetKind>) -> Vec<String> {
    targets.iter().filter(|(_, kind)| kind.is_vector()).map(|(name, _)| name.clone()).collect()
}

/// Logits of every output for `image` (C, Z, Y, X), on the CPU: dense ones (C, Z, Y, X), image-level ones (C,); the mean over the `folds`
/// of one network.
pub fn sliding_window(folds: &[Fold], image: VolumeView<f32>, window: &Window) -> Result<IndexMap<String, Tensor>, Error> {
    let mut means: IndexMap<String, Tensor> = IndexMap::new();
    for fold in folds {
        for (name, logits) in one_fold(fold, image, window)? {
            match means.get_mut(&name) {
                Some(sum) => drop(sum.f_add_(&logits)?),
                None => drop(means.insert(name, logits)),
            }
        }
    }
    for mean in means.values_mut().filter(|_| folds.len() > 1) {
        drop(mean.f_div_scalar_(folds.len() as f64)?);
    }
    Ok(means)
}

fn one_fold(fold: &Fold, image: VolumeView<f32>, window: &Window) -> Result<IndexMap<String, Tensor>, Error> {
    let Window { dims, patch, step, half, .. } = *window;
    let _no_grad = tch::no_grad_guard();
    let shape = image.shape.map(|size| size as i64);
    let device = fold.model.parameters.device();
    let image = Tensor::f_from_slice(image.data)?.f_view(shape.as_slice())?.f_to_device(device)?;
    let patch = if dims == 2 { [1, patch[1], patch[2]] } else { patch };
    let (padded, margins) = pad(&image, patch)?;
    let size: [usize; 3] = std::array::from_fn(|axis| padded.size()[axis + 1] as usize);
    let kind = if half { Dtype::Half } else { Dtype::Float };
    let importance = gaussian::importance(patch, half).f_to_device(device)?;
    let mut sums = Sums::new(fold.model.trainer.outputs(), size, (kind, device))?;
    let corners = tiles::corners(size, patch, step, dims == 2);
    let (mut done, mut at_once) = (0, fold.tiles_at_once(dims));
    while done < corners.len() {
        let some = &corners[done..(done + at_once).min(corners.len())];
        match outputs_of(&fold.tiles(&padded, some, patch, dims)?, window) {
            Ok(outputs) => {
                sums.add(&outputs, some, patch, &importance)?;
                done += some.len();
            }
            Err(error) if some.len() > 1 && error.is_out_of_memory() => {
                at_once = some.len() / 2;
                log::info!("{} tiles do not fit the device's memory; going on with {at_once} at once", some.len());
            }
            Err(error) => return Err(error),
        }
    }
    fold.release();
    sums.finish(margins, shape)
}

/// The finest level of every output for some tiles: dense ones (B, C, Z, Y, X), image-level ones (B, C).
fn outputs_of(tiles: &Tiles, window: &Window) -> Result<IndexMap<String, Tensor>, Error> {
    let mut outputs = mirrored(tiles, window)?;
    for output in outputs.values_mut().filter(|output| window.dims == 2 && output.dim() > 2) {
        *output = output.f_unsqueeze(2)?;
    }
    Ok(outputs)
}

/// `image` (C, Z, Y, X) padded with zeros to at least `patch`, half on either side, and the lower margins.
fn pad(image: &Tensor, patch: [usize; 3]) -> Result<(Tensor, [i64; 3]), Error> {
    let size = image.size();
    let missing: [i64; 3] = std::array::from_fn(|axis| (patch[axis] as i64 - size[axis + 1]).max(0));
    let below = missing.map(|missing| missing / 2);
    let above: [i64; 3] = std::array::from_fn(|axis| missing[axis] - below[axis]);
    // torch counts from the last axis.
    let amounts = [below[2], above[2], below[1], above[1], below[0], above[0]];
    Ok((image.f_constant_pad_nd(amounts)?, below))
}

/// The finest level of every output, averaged over all mirror images: dense ones (B, C, [Z,] Y, X).
fn mirrored(tiles: &Tiles, window: &Window) -> Result<IndexMap<String, Tensor>, Error> {
    let axes = &window.mirror;
    let mut sums: IndexMap<String, Tensor> = IndexMap::new();
    let variants = 1u32 << axes.len();
    for variant in 0..variants {
        let some: Vec<usize> = axes.iter().enumerate().filter(|(i, _)| variant & (1 << i) != 0).map(|(_, axis)| *axis).collect();
        let flipped: Vec<i64> = some.iter().map(|axis| *axis as i64 + 2).collect();
        for (name, level) in finest(tiles.forward(&some)?) {
            let level = if flipped.is_empty() || level.dim() == 2 { level } else { level.f_flip(&flipped)? };
            if window.vectors.contains(&name) {
                // Components are those of three axes also where the network sees two, unless the vectors lie in the slice.
                let beyond = level.size()[1] - window.dims as i64;
                for axis in flipped.iter().map(|axis| axis - 2 + beyond) {
                    drop(level.f_narrow(1, axis, 1)?.f_neg_()?);
                }
            }
            match sums.get_mut(&name) {
                Some(sum) => drop(sum.f_add_(&level)?),
                None => drop(sums.insert(name, level)),
            }
        }
    }
    for sum in sums.values_mut() {
        *sum = sum.f_div_scalar(f64::from(variants))?;
    }
    Ok(sums)
}

fn finest(outputs: Outputs) -> impl Iterator<Item = (String, Tensor)> {
    outputs.into_iter().filter_map(|(name, levels)| Some((name, levels.into_iter().next()?)))
}

/// Weighted sums of the tiles' logits.
struct Sums {
    /// Dense: (C, Z, Y, X). Image level: (C,).
    sums: IndexMap<String, (Kind, Tensor)>,
    /// Sum of the weights (Z, Y, X).
    weights: Tensor,
    /// What image-level outputs are divided by.
    images: f64,
}

impl Sums {
    fn new(outputs: &[Output], size: [usize; 3], options: (Dtype, Device)) -> Result<Self, Error> {
        let spatial = size.map(|size| size as i64);
        let mut sums = IndexMap::new();
        for output in outputs.iter().filter(|output| output.kind != Kind::Aux) {
            let mut shape = vec![output.channels];
            shape.extend(spatial.iter().filter(|_| output.kind != Kind::Class));
            sums.insert(output.name.clone(), (output.kind, Tensor::f_zeros(&shape, options)?));
        }
        Ok(Self { sums, weights: Tensor::f_zeros(spatial, options)?, images: 0.0 })
    }

    /// Adds the outputs of the tiles at `corners`.
    fn add(
        &mut self,
        outputs: &IndexMap<String, Tensor>,
        corners: &[[usize; 3]],
        patch: [usize; 3],
        importance: &Tensor,
    ) -> Result<(), Error> {
        for (name, (kind, sum)) in &mut self.sums {
            let Some(output) = outputs.get(name) else { continue };
            if *kind == Kind::Class {
                drop(sum.f_add_(&output.f_sum_dim_intlist(0, false, Dtype::Float)?)?);
                continue;
            }
            let weighted = output.f_mul(importance)?;
            for (tile, corner) in corners.iter().enumerate() {
                drop(part(sum, *corner, patch)?.f_add_(&weighted.f_select(0, tile as i64)?)?);
            }
        }
        let weights = self.weights.f_unsqueeze(0)?;
        for corner in corners {
            drop(part(&weights, *corner, patch)?.f_add_(importance)?);
        }
        self.images += corners.len() as f64;
        Ok(())
    }

    /// Divides, takes the padding off, and brings the result to the CPU.
    fn finish(self, margins: [i64; 3], shape: [i64; 4]) -> Result<IndexMap<String, Tensor>, Error> {
        let mut logits = IndexMap::new();
        for (name, (kind, sum)) in self.sums {
            let mean = match kind {
                Kind::Class => sum.f_div_scalar(self.images)?,
                _ => {
                    let mut mean = sum.f_div(&self.weights)?;
                    for axis in 0..3 {
                        mean = mean.f_narrow(axis as i64 + 1, margins[axis], shape[axis + 1])?;
                    }
                    mean
                }
            };
            logits.insert(name, mean.f_to_device(Device::Cpu)?.f_contiguous()?);
        }
        Ok(logits)
    }
}
