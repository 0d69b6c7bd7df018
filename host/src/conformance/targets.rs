//! Batches of made-up problems: images with all targets, and the same ones with something else where they say nothing.
//!
//! Every sample shows nested shells around a point: label 1 outside, the last label inside, which gives every kind of target something to be made of.

use super::problem::Content;
use plugin_api::task::Target as Spec;
use plugin_api::{Batch, Kind, Target, Task};
use tch::{Device, Kind as Dtype, Tensor};

/// Radius of the outermost shell in voxels, as a share of the shortest axis.
const RADIUS: f64 = 0.45;

/// Images with one channel, and every target of `task` as `content` has it.
pub fn batch(task: &Task, content: Content) -> Batch {
    let samples = task.batch_size as usize;
    let shells: Vec<Tensor> = (0..samples).map(|sample| shells(&task.patch_size, sample)).collect();
    let shells = Tensor::stack(&shells, 0).unsqueeze(1);
    let has: Vec<bool> = (0..samples)
        .map(|sample| match content {
            Content::SomeMissing => sample % 2 == 1,
            Content::AllMissing => false,
            _ => true,
        })
        .collect();
    let all = vec![true; samples];
    let target = |spec: &Spec| target(task, spec, content, &shells, if spec.optional { &has } else { &all });
    Batch {
        image: &shells + Tensor::randn_like(&shells) * 0.1,
        cases: (0..samples).map(|sample| format!("case_{sample}")).collect(),
        targets: task.targets.iter().map(|(name, spec)| (name.clone(), target(spec))).collect(),
    }
}

/// 1 at a point of sample number `sample`, 0 at the outermost shell, negative beyond: `([Z,] Y, X)`.
fn shells(size: &[i64], sample: usize) -> Tensor {
    let shortest = size.iter().min().copied().unwrap_or(1) as f64;
    let mut squares = Tensor::zeros(size, (Dtype::Float, Device::Cpu));
    for (axis, length) in size.iter().enumerate() {
        // Not halfway between voxels: one of them is to be the nearest.
        let mut shape = vec![1; size.len()];
        shape[axis] = *length;
        let centre = *length as f64 / 2.0 - 0.2 + 0.2 * sample as f64;
        squares += (Tensor::arange(*length, (Dtype::Float, Device::Cpu)) - centre).square().view(shape.as_slice());
    }
    1.0 - squares.sqrt() / (RADIUS * shortest)
}

/// Every level of one target, from `shells` (B, 1, …).
fn target(task: &Task, spec: &Spec, content: Content, shells: &Tensor, has: &[bool]) -> Target {
    let presence = Tensor::from_slice(has);
    let here = presence.view([&[-1][..], &vec![1; shells.dim() - 1]].concat().as_slice());
    let finest = finest(spec, content, shells);
    if spec.kind == Kind::Class {
        let levels = vec![finest * presence.to_kind(Dtype::Int64)];
        return Target { levels, valid: Vec::new(), presence };
    }
    let finest = finest.where_self(&here, &finest.zeros_like());
    let levels = (0..task.levels()).map(|stage| subsample(&finest, task, stage)).collect();
    let labelled = matches!(spec.kind, Kind::Labels | Kind::Regions);
    let somewhere = match content {
        Content::Ignored => Some(shells.zeros_like().to_kind(Dtype::Bool)).filter(|_| !labelled),
        Content::HalfInvalid => Some(believed_half(shells)),
        Content::HalfIgnored => Some(believed_half(shells)).filter(|_| spec.ignore.is_none()),
        _ => None,
    };
    let everywhere = has.iter().all(|has| *has) && somewhere.is_none();
    let believed = here.expand(shells.size(), false).logical_and(&somewhere.unwrap_or_else(|| shells.ones_like().to_kind(Dtype::Bool)));
    let valid = if everywhere { Vec::new() } else { (0..task.levels()).map(|stage| subsample(&believed, task, stage)).collect() };
    Target { levels, valid, presence }
}

/// The finest level, or the class of every sample.
fn finest(spec: &Spec, content: Content, shells: &Tensor) -> Tensor {
    let channels = spec.channels;
    let inside = |share: f64| match content {
        Content::Empty => shells.zeros_like().to_kind(Dtype::Bool),
        Content::Full => shells.ones_like().to_kind(Dtype::Bool),
        Content::OneVoxel => shells.ge_tensor(&shells.amax((2..shells.dim() as i64).collect::<Vec<_>>(), true)),
        _ => shells.gt(share),
    };
    match spec.kind {
        // Not all classes equally often: the gradient of a new head's bias would be zero.
        Kind::Class => Tensor::arange(shells.size()[0], (Dtype::Int64, Device::Cpu)).divide_scalar_mode(2, "floor").remainder(channels),
        // How much a voxel counts; nothing where nothing may be believed.
        Kind::Regression if spec.weighs.is_some() => {
            let weights = shells.clamp_min(0.0) + 0.5;
            if content == Content::HalfWeightless { weights * believed_half(shells) } else { weights }
        }
        // Less inside, as signed distances are.
        Kind::Regression | Kind::Aux => Tensor::cat(&(0..channels).map(|channel| shells * -(1.0 + channel as f64)).collect::<Vec<_>>(), 1),
        Kind::Labels => match (content, spec.ignore) {
            (Content::Ignored, Some(ignore)) => shells.zeros_like().to_kind(Dtype::Int64) + ignore,
            (Content::HalfIgnored, Some(ignore)) => {
                let all: Tensor = (0..channels - 1).map(|i| inside(i as f64 / channels as f64).to_kind(Dtype::Int64)).sum();
                all.where_self(&believed_half(shells), &(shells.zeros_like().to_kind(Dtype::Int64) + ignore))
            }
            // Centre lines are thin.
            _ if spec.skeleton_of.is_some() => inside(0.8).to_kind(Dtype::Int64),
            (Content::Full | Content::OneVoxel, _) => inside(0.0).to_kind(Dtype::Int64),
            _ => (0..channels - 1).map(|i| inside(i as f64 / channels as f64).to_kind(Dtype::Int64)).sum(),
        },
        Kind::Regions => {
            let mut regions: Vec<Tensor> = (0..channels).map(|i| inside(i as f64 / (channels + 1) as f64)).collect();
            if spec.ignore.is_some() {
                let everywhere = shells.ones_like().to_kind(Dtype::Bool);
                regions.push(if content == Content::HalfIgnored { believed_half(shells).logical_not() } else { everywhere });
            }
            Tensor::cat(&regions, 1)
        }
    }
}

/// Every so many-th voxel, as a level of `stage` has it.
pub fn subsample(map: &Tensor, task: &Task, stage: usize) -> Tensor {
    let mut map = map.shallow_clone();
    for axis in 0..task.dims {
        let every: i64 = task.strides[..=stage].iter().map(|stride| stride[axis]).product();
        map = map.slice(2 + axis as i64, 0, None, every);
    }
    map.contiguous()
}

/// True in one half of every sample of `map` (B, …, X): with the smaller x in those of an even number, with the larger x in the others.
fn believed_half(map: &Tensor) -> Tensor {
    let width = map.size()[map.dim() - 1];
    let smaller = Tensor::arange(width, (Dtype::Int64, Device::Cpu)).lt((width + 1) / 2);
    let halves: Vec<Tensor> =
        (0..map.size()[0]).map(|sample| if sample % 2 == 0 { smaller.shallow_clone() } else { smaller.logical_not() }).collect();
    let mut shape = vec![1; map.dim()];
    (shape[0], shape[map.dim() - 1]) = (-1, width);
    Tensor::stack(&halves, 0).view(shape.as_slice()).expand_as(map)
}

/// Where a change of targets is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Where they say nothing: not valid, of weight 0, absent.
    Unbelieved,
    /// Everywhere.
    Everywhere,
}

/// `batch` with other values of all targets, which are as possible as those that are there. What is ignored by its label stays so.
pub fn scribbled(task: &Task, batch: &Batch, place: Where) -> Batch {
    let targets = batch.targets.iter().map(|(name, target)| {
        let spec = &task.targets[name];
        let weights =
            task.targets.iter().find(|(_, other)| other.weighs.as_deref() == Some(name)).and_then(|(map, _)| batch.targets.get(map));
        let level = |(i, values): (usize, &Tensor)| {
            let mut shape = vec![1; values.dim()];
            shape[0] = -1;
            let mut nothing = target.presence.logical_not().view(shape.as_slice()).expand_as(values);
            if let Some(valid) = target.valid.get(i) {
                nothing = nothing.logical_or(&valid.logical_not());
            }
            if let Some(weights) = weights.filter(|_| spec.kind != Kind::Class) {
                let present = weights.presence.view(shape.as_slice());
                nothing = nothing.logical_or(&weights.levels[i].eq(0.0).logical_and(&present));
            }
            let changed = if place == Where::Everywhere { nothing.ones_like() } else { nothing };
            other_values(spec, values).where_self(&changed, values)
        };
        let levels = target.levels.iter().enumerate().map(level).collect();
        let valid = target.valid.iter().map(Tensor::shallow_clone).collect();
        (name.clone(), Target { levels, valid, presence: target.presence.shallow_clone() })
    });
    Batch { image: batch.image.shallow_clone(), cases: batch.cases.clone(), targets: targets.collect() }
}

/// Values as possible as `values` that are others everywhere, but for ignore labels.
fn other_values(spec: &Spec, values: &Tensor) -> Tensor {
    match (spec.kind, spec.ignore) {
        (Kind::Labels, Some(ignore)) => ((values + 1).remainder(spec.channels)).where_self(&values.ne(ignore), values),
        (Kind::Labels | Kind::Class, _) => (values + 1).remainder(spec.channels),
        (Kind::Regions, Some(_)) => {
            let ignored = values.narrow(1, values.size()[1] - 1, 1);
            Tensor::cat(&[values.narrow(1, 0, values.size()[1] - 1).logical_not(), ignored], 1)
        }
        (Kind::Regions, None) => values.logical_not(),
        // How much something counts is not below 0.
        (Kind::Regression | Kind::Aux, _) if spec.weighs.is_some() => values * 3.0 + 1.0,
        (Kind::Regression | Kind::Aux, _) => values * -3.0 + 7.0,
    }
}

/// The samples of `batch` of these numbers, in this order.
pub fn samples(batch: &Batch, numbers: &[i64]) -> Batch {
    let index = Tensor::from_slice(numbers);
    let select = |tensor: &Tensor| tensor.index_select(0, &index);
    let targets = batch.targets.iter().map(|(name, target)| {
        let all = |tensors: &[Tensor]| tensors.iter().map(select).collect();
        (name.clone(), Target { levels: all(&target.levels), valid: all(&target.valid), presence: select(&target.presence) })
    });
    Batch {
        image: select(&batch.image),
        cases: numbers.iter().map(|number| batch.cases[*number as usize].clone()).collect(),
        targets: targets.collect(),
    }
}
