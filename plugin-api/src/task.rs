//! What a trainer is told before training starts, and what it declares in return. Crosses as JSON, so that it can grow.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
#[cfg(feature = "torch")]
use tch::{TchError, Tensor};

/// What is to be trained: fixed for the life of a trainer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// 2 or 3.
    pub dims: usize,
    /// Patch size in voxels, `([z,] y, x)`.
    pub patch_size: Vec<i64>,
    /// Voxel spacing in mm, `([z,] y, x)`.
    pub spacing: Vec<f64>,
    /// Channels of every encoder stage, finest first; the last is the bottleneck. The decoder has one level less, same channels.
    pub features: Vec<i64>,
    /// Stride of every encoder stage, as in the plan.
    pub strides: Vec<Vec<i64>>,
    /// The targets of the data set by name, of which the label map of `labelsTr` is `segmentation`; then those that the plugin's own
    /// [`TargetTransform`](crate::extensions::TargetTransform) makes.
    pub targets: IndexMap<String, Target>,
    /// Samples a step.
    pub batch_size: i64,
    /// Dice over the batch rather than a sample (the plan's `batch_dice`).
    pub batch_dice: bool,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Training iterations an epoch.
    pub iterations: u64,
    /// `cpu`, `cuda:0`, …
    pub device: String,
    /// Made of the user's seed and the fold, so that folds are independent; equal for runs that are compared.
    pub seed: u64,
}

impl Task {
    /// Number of decoder levels, which is the largest number of deep-supervision levels.
    pub fn levels(&self) -> usize {
        self.features.len().saturating_sub(1)
    }

    /// The target `name`, or an error that lists those that there are.
    pub fn target(&self, name: &str) -> crate::Result<&Target> {
        self.targets.get(name).ok_or_else(|| {
            crate::Error::new(format!(
                "there is no target '{name}'{}",
                crate::options::suggestion(name, self.targets.keys().map(String::as_str))
            ))
        })
    }
}

/// What an output or a target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Exclusive classes, softmax.
    Labels,
    /// Overlapping regions, sigmoid.
    Regions,
    /// Real values.
    Regression,
    /// One class for the whole image.
    Class,
    /// Has no target, no metric and no file.
    Aux,
}

#[cfg(feature = "torch")]
impl Kind {
    /// What is predicted from `logits` (B, C, …) unless a trainer says otherwise: softmax over channels, sigmoid, or the logits themselves.
    pub fn activate(self, logits: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Labels | Self::Class => logits.f_softmax(1, tch::Kind::Float),
            Self::Regions => logits.f_sigmoid(),
            Self::Regression | Self::Aux => Ok(logits.shallow_clone()),
        }
    }
}

/// A target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// What it is.
    pub kind: Kind,
    /// Channels that predict it: classes with background, regions, regression channels, or image classes.
    pub channels: i64,
    /// Names of what is evaluated: foreground classes or regions, or image classes.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Label value without supervision (labels); for regions, the last target channel says where that is.
    #[serde(default)]
    pub ignore: Option<i64>,
    /// Cases may lack it.
    #[serde(default)]
    pub optional: bool,
    /// The target whose voxels it weighs, if it is a map of weights.
    #[serde(default)]
    pub weighs: Option<String>,
    /// The target whose skeleton it is, if it is one.
    #[serde(default)]
    pub skeleton_of: Option<String>,
    /// Its channels are the components (z, y, x) of a vector in mm, which mirror images turn (regression); of a target that a plugin makes for a 2D
    /// network, (y, x) will do, since 1.2. Since 1.1.
    #[serde(default)]
    pub vectors: bool,
}

impl Target {
    /// A target without names of classes that every case has.
    pub fn new(kind: Kind, channels: i64) -> Self {
        Self { kind, channels, classes: Vec::new(), ignore: None, optional: false, weighs: None, skeleton_of: None, vectors: false }
    }
}

/// An output that a trainer declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Unique; names metrics and files.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The target that it is compared with; none for [`Kind::Aux`].
    pub target: Option<String>,
    /// Channels.
    pub channels: i64,
    /// Levels it has in training, finest first. 1 for image-level outputs.
    pub levels: usize,
}

/// What `describe` tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Description {
    /// JSON Schema of the options, with their defaults.
    pub schema: serde_json::Value,
}

/// An epoch that begins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Epoch {
    /// From 0.
    pub epoch: u64,
    /// Of the whole run.
    pub epochs: u64,
}

/// An epoch that has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EpochReport {
    /// From 0.
    pub epoch: u64,
    /// Mean unweighted value of every term, training.
    #[serde(deserialize_with = "nullable::numbers")]
    pub train: IndexMap<String, f64>,
    /// Mean unweighted value of every term, validation.
    #[serde(deserialize_with = "nullable::numbers")]
    pub validation: IndexMap<String, f64>,
    /// Online metrics by output, then by name; NaN where there was nothing to measure.
    #[serde(deserialize_with = "nullable::tables")]
    pub metrics: IndexMap<String, IndexMap<String, f64>>,
}

/// Numbers in JSON, which has no NaN: `null` stands for those that are not finite.
pub mod nullable {
    use indexmap::IndexMap;
    use serde::{Deserialize, Deserializer};

    /// A number or null.
    pub fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
    }

    /// Numbers or nulls by name.
    pub fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<String, f64>, D::Error> {
        Ok(plain(IndexMap::deserialize(from)?))
    }

    /// Such by name.
    pub fn tables<'de, D: Deserializer<'de>>(from: D) -> Result<IndexMap<String, IndexMap<String, f64>>, D::Error> {
        let tables: IndexMap<String, IndexMap<String, Option<f64>>> = IndexMap::deserialize(from)?;
        Ok(tables.into_iter().map(|(name, numbers)| (name, plain(numbers))).collect())
    }

    fn plain(numbers: IndexMap<String, Option<f64>>) -> IndexMap<String, f64> {
        numbers.into_iter().map(|(name, number)| (name, number.unwrap_or(f64::NAN))).collect()
    }
}
