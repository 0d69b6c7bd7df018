//! Small made-up problems to try a trainer on: a task, features as a trunk would make them, a batch with its targets.
//!
//! Every sample shows nested shells around a point: label 1 outside, the last label inside, which gives every kind of target something to be made of.

use indexmap::IndexMap;
use plugin_api::task::Target as Spec;
use plugin_api::{Batch, Features, Kind, Phase, Step, Target, Task};
use tch::{Device, Kind as Dtype, Tensor};

/// Epochs of every problem; the step is one of the middle, when what is scheduled counts.
const EPOCHS: u64 = 20;
/// Radius of the outermost shell in voxels, as a share of the shortest axis.
const RADIUS: f64 = 0.45;

/// Form of a problem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Problem {
    /// 2 or 3.
    pub dims: usize,
    /// Levels of deep supervision.
    pub levels: usize,
    /// Samples.
    pub batch: usize,
    /// What the targets are like.
    pub content: Content,
}

/// What the targets of a problem are like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Content {
    /// All there is.
    Whole,
    /// Background alone.
    Empty,
    /// Foreground alone.
    Full,
    /// One voxel of foreground.
    OneVoxel,
    /// Nothing that may be believed: ignore labels, and validity false.
    Ignored,
    /// Cases may lack targets; those of an even number do.
    SomeMissing,
    /// Cases may lack targets; all do.
    AllMissing,
}

impl Problem {
    /// Three dimensions, three levels, two samples, everything there.
    pub const USUAL: Self = Self { dims: 3, levels: 3, batch: 2, content: Content::Whole };

    /// A small one, for what is done very often.
    pub const SMALL: Self = Self { levels: 2, batch: 1, ..Self::USUAL };

    /// The usual one, with other targets.
    pub fn with(content: Content) -> Self {
        Self { content, ..Self::USUAL }
    }

    /// What the trainer is told, on a data set with `targets`. The first downsampling of 3D spares the z axis.
    pub fn task(&self, targets: &IndexMap<String, Spec>, seed: u64) -> Task {
        let stride = |stage: usize, axis: usize| match stage {
            0 => 1,
            1 if self.dims == 3 && axis == 0 => 1,
            _ => 2,
        };
        let strides: Vec<Vec<i64>> = (0..=self.levels).map(|stage| (0..self.dims).map(|axis| stride(stage, axis)).collect()).collect();
        let patch_size = (0..self.dims).map(|axis| strides.iter().map(|stride| stride[axis]).product::<i64>().max(8)).collect();
        Task {
            dims: self.dims,
            patch_size,
            spacing: [2.0, 1.0, 1.0][3 - self.dims..].to_vec(),
            features: (0..=self.levels as i64).map(|stage| 4 + 2 * stage).collect(),
            strides,
            targets: targets.iter().map(|(name, target)| (name.clone(), self.told(target))).collect(),
            batch_size: self.batch as i64,
            batch_dice: false,
            epochs: EPOCHS,
            iterations: 10,
            device: "cpu".to_owned(),
            seed,
        }
    }

    /// A target as this problem has it.
    fn told(&self, target: &Spec) -> Spec {
        let mut target = target.clone();
        target.optional |= matches!(self.content, Content::SomeMissing | Content::AllMissing);
        if self.content == Content::Ignored && matches!(target.kind, Kind::Labels | Kind::Regions) && target.skeleton_of.is_none() {
            // One above the highest label.
            target.ignore = Some(target.channels + i64::from(target.kind == Kind::Regions));
        }
        target
    }

    /// Where training stands: in the middle, all levels supervised.
    pub fn step(&self, iteration: u64) -> Step {
        let weights: Vec<f64> = (0..self.levels).map(|level| 0.5f64.powi(level as i32)).collect();
        let sum: f64 = weights.iter().sum();
        Step {
            epoch: EPOCHS / 2,
            iteration,
            micro_step: 0,
            seed: crate::shim::mix(&[7, iteration]),
            phase: Phase::Train,
            deep_supervision_weights: weights.iter().map(|weight| weight / sum).collect(),
        }
    }
}

/// Maps of every stage, finest first, `(B, C, [Z,] Y, X)`, normally distributed; leaves of the graph.
pub fn features(task: &Task) -> Features {
    let map = |stage: usize| {
        let mut shape = vec![task.batch_size, task.features[stage]];
        shape.extend(stage_size(task, stage));
        Tensor::randn(shape, (Dtype::Float, Device::Cpu)).set_requires_grad(true)
    };
    Features {
        decoder: (0..task.levels()).map(map).collect(),
        bottleneck: map(task.levels()),
        skips: (0..task.levels()).map(map).collect(),
    }
}

/// `([z,] y, x)` of a stage.
fn stage_size(task: &Task, stage: usize) -> Vec<i64> {
    let divide = |size: &i64, axis: usize| size / task.strides[..=stage].iter().map(|stride| stride[axis]).product::<i64>();
    task.patch_size.iter().enumerate().map(|(axis, size)| divide(size, axis)).collect()
}

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
    // Labels and regions of cases that have them are valid everywhere; the others say so.
    let everywhere = has.iter().all(|has| *has) && (spec.kind != Kind::Regression || content != Content::Ignored);
    let believed = here.expand(shells.size(), false).logical_and(&Tensor::from(content != Content::Ignored));
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
        Kind::Regression | Kind::Aux => Tensor::cat(&(0..channels).map(|channel| shells * (1.0 + channel as f64)).collect::<Vec<_>>(), 1),
        Kind::Labels => match (content, spec.ignore) {
            (Content::Ignored, Some(ignore)) => shells.zeros_like().to_kind(Dtype::Int64) + ignore,
            // Centre lines are thin.
            _ if spec.skeleton_of.is_some() => inside(0.8).to_kind(Dtype::Int64),
            (Content::Full | Content::OneVoxel, _) => inside(0.0).to_kind(Dtype::Int64),
            _ => (0..channels - 1).map(|i| inside(i as f64 / channels as f64).to_kind(Dtype::Int64)).sum(),
        },
        Kind::Regions => {
            let mut regions: Vec<Tensor> = (0..channels).map(|i| inside(i as f64 / (channels + 1) as f64)).collect();
            if spec.ignore.is_some() {
                regions.push(shells.ones_like().to_kind(Dtype::Bool));
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

/// A data set with a target of every kind.
pub fn every_kind_of_target() -> IndexMap<String, Spec> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let labels = Spec { classes: names(&["outer", "inner"]), ..Spec::new(Kind::Labels, 3) };
    let skeleton = Spec { skeleton_of: Some("segmentation".to_owned()), classes: names(&["skeleton"]), ..Spec::new(Kind::Labels, 2) };
    IndexMap::from([
        ("segmentation".to_owned(), labels),
        ("regions".to_owned(), Spec { classes: names(&["whole", "core"]), ..Spec::new(Kind::Regions, 2) }),
        ("distance".to_owned(), Spec::new(Kind::Regression, 1)),
        ("flow".to_owned(), Spec::new(Kind::Regression, 3)),
        ("class".to_owned(), Spec { classes: names(&["small", "large"]), ..Spec::new(Kind::Class, 2) }),
        ("skeleton".to_owned(), skeleton),
    ])
}
