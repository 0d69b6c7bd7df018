//! Small made-up problems to try a trainer on: what its task is, where training stands, and features as a trunk would make them. The batch is made by
//! `targets`.

use indexmap::IndexMap;
use plugin_api::task::Target as Spec;
use plugin_api::{Features, Kind, Phase, Step, Task};
use tch::{Device, Kind as Dtype, Tensor};

/// Epochs of every problem.
const EPOCHS: u64 = 20;

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
    /// What data set and training are like.
    pub world: World,
    /// Four times as wide, so that there is room far from every border.
    pub wide: bool,
}

/// What data set and training are like: a trainer must not be right in one of them only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// The targets of the subject, in the middle of the training, when what is scheduled counts.
    Usual,
    /// The first epoch, overlaps over the batch, thick slices; made-up targets: the segmentation is regions.
    Regions,
    /// Made-up targets: the segmentation has one class of foreground, and a map of weights.
    Weighed,
    /// The last epoch, voxels of one size; made-up targets: four classes of foreground, and vectors.
    Many,
}

impl World {
    /// The worlds, each with dimensions that it is tried in.
    pub const ALL: [(Self, usize); 4] = [(Self::Usual, 3), (Self::Regions, 2), (Self::Weighed, 3), (Self::Many, 2)];

    /// Its targets, where those of the subject are made up.
    pub fn targets(self, mut targets: IndexMap<String, Spec>) -> IndexMap<String, Spec> {
        const SEGMENTATION: &str = "segmentation";
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Self::Usual => {}
            Self::Regions => {
                targets[SEGMENTATION] = Spec { classes: names(&["whole", "core", "spot"]), ..Spec::new(Kind::Regions, 3) };
                targets.shift_remove("skeleton");
            }
            Self::Weighed => {
                targets[SEGMENTATION] = Spec { classes: names(&["whole"]), ..Spec::new(Kind::Labels, 2) };
                targets.insert("weights".to_owned(), Spec { weighs: Some(SEGMENTATION.to_owned()), ..Spec::new(Kind::Regression, 1) });
            }
            Self::Many => {
                targets[SEGMENTATION] = Spec { classes: names(&["outer", "middle", "inner", "centre"]), ..Spec::new(Kind::Labels, 5) };
                targets["flow"].vectors = true;
            }
        }
        targets
    }

    /// What is special about it, where targets are `made_up` and where they are those of a data set.
    pub fn name(self, made_up: bool) -> &'static str {
        match (self, made_up) {
            (Self::Usual, true) => "labels",
            (Self::Regions, true) => "regions, batch Dice, first epoch",
            (Self::Weighed, true) => "one class and a map of weights",
            (Self::Many, true) => "five channels, last epoch",
            (Self::Usual | Self::Weighed, false) => "in mid-training",
            (Self::Regions, false) => "batch Dice, first epoch",
            (Self::Many, false) => "last epoch",
        }
    }

    fn epoch(self) -> u64 {
        match self {
            Self::Regions => 0,
            Self::Many => EPOCHS - 1,
            Self::Usual | Self::Weighed => EPOCHS / 2,
        }
    }

    fn spacing(self) -> [f64; 3] {
        match self {
            Self::Regions => [5.0, 0.7, 0.8],
            Self::Many => [1.0; 3],
            Self::Usual | Self::Weighed => [2.0, 1.0, 1.0],
        }
    }
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
    /// Validity is false in one half of each sample: that with the larger x, and in every second sample the other one.
    HalfInvalid,
    /// Weights of voxels are 0 in these halves.
    HalfWeightless,
    /// Ignore labels in these halves, and validity false where a kind has no such label.
    HalfIgnored,
    /// Cases may lack targets; those of an even number do.
    SomeMissing,
    /// Cases may lack targets; all do.
    AllMissing,
}

impl Problem {
    /// Three dimensions, three levels, two samples, everything there.
    pub const USUAL: Self = Self { dims: 3, levels: 3, batch: 2, content: Content::Whole, world: World::Usual, wide: false };

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
        let wider = |axis: usize| if self.wide && axis + 1 == self.dims { 4 } else { 1 };
        let length = |axis: usize| strides.iter().map(|stride| stride[axis]).product::<i64>().max(8) * wider(axis);
        let patch_size = (0..self.dims).map(length).collect();
        Task {
            dims: self.dims,
            patch_size,
            spacing: self.world.spacing()[3 - self.dims..].to_vec(),
            features: (0..=self.levels as i64).map(|stage| 4 + 2 * stage).collect(),
            strides,
            targets: targets.iter().map(|(name, target)| (name.clone(), self.told(target))).collect(),
            batch_size: self.batch as i64,
            batch_dice: self.world == World::Regions,
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
        if matches!(self.content, Content::Ignored | Content::HalfIgnored)
            && matches!(target.kind, Kind::Labels | Kind::Regions)
            && target.skeleton_of.is_none()
        {
            // One above the highest label.
            target.ignore = Some(target.channels + i64::from(target.kind == Kind::Regions));
        }
        target
    }

    /// Where training stands, all levels supervised.
    pub fn step(&self, iteration: u64) -> Step {
        let weights: Vec<f64> = (0..self.levels).map(|level| 0.5f64.powi(level as i32)).collect();
        let sum: f64 = weights.iter().sum();
        Step {
            epoch: self.world.epoch(),
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
