//! What passes between host and trainer in every step: features in, named outputs and named loss terms back.

use crate::{Error, Result};
use indexmap::IndexMap;
use tch::Tensor;

/// What the trunk hands to the heads, all `(B, C, [Z,] Y, X)`.
#[derive(Debug)]
pub struct Features {
    /// Decoder maps, finest first.
    pub decoder: Vec<Tensor>,
    /// The last encoder stage.
    pub bottleneck: Tensor,
    /// Encoder maps, finest first, without the bottleneck.
    pub skips: Vec<Tensor>,
}

/// Circumstances of a forward call.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// False in validation and prediction.
    pub training: bool,
    /// How many levels of each dense output are wanted, finest first.
    pub levels: usize,
    /// Under autocast: heads compute in half precision; outputs are cast to f32 by the host.
    pub amp: bool,
}

/// Named outputs, each with its levels, finest first, in declared order.
#[derive(Debug, Default)]
pub struct Outputs(IndexMap<String, Vec<Tensor>>);

impl Outputs {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next level of output `name`.
    pub fn push(&mut self, name: &str, level: Tensor) {
        self.0.entry(name.to_owned()).or_default().push(level);
    }

    /// The levels of output `name`, finest first.
    pub fn get(&self, name: &str) -> Result<&[Tensor]> {
        self.0.get(name).map(Vec::as_slice).ok_or_else(|| {
            Error::new(format!("there is no output '{name}'{}", crate::options::suggestion(name, self.0.keys().map(String::as_str))))
        })
    }

    /// Name and levels of every output.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Tensor])> {
        self.0.iter().map(|(name, levels)| (name.as_str(), levels.as_slice()))
    }
}

impl IntoIterator for Outputs {
    type Item = (String, Vec<Tensor>);
    type IntoIter = indexmap::map::IntoIter<String, Vec<Tensor>>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// One target of a batch.
#[derive(Debug)]
pub struct Target {
    /// Finest first: labels i64 (B, 1, …), regions bool (B, R[+1: ignored], …), regression f32 (B, C, …), class i64 (B,).
    pub levels: Vec<Tensor>,
    /// Per level bool (B, 1, …): where the target may be believed. Empty where that is everywhere.
    pub valid: Vec<Tensor>,
    /// Bool (B,): which cases have this target.
    pub presence: Tensor,
}

/// What a loss is computed on.
#[derive(Debug)]
pub struct Batch {
    /// Augmented input `(B, C, [Z,] Y, X)`.
    pub image: Tensor,
    /// Case identifiers, one a sample.
    pub cases: Vec<String>,
    /// Targets by name.
    pub targets: IndexMap<String, Target>,
}

impl Batch {
    /// The target `name`.
    pub fn target(&self, name: &str) -> Result<&Target> {
        self.targets.get(name).ok_or_else(|| Error::new(format!("the batch has no target '{name}'")))
    }
}

/// Training or validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// With gradients.
    Train,
    /// Without.
    Validate,
}

/// Where training stands.
#[derive(Clone, Debug)]
pub struct Step {
    /// From 0.
    pub epoch: u64,
    /// Within the epoch, from 0.
    pub iteration: u64,
    /// Part of an accumulated step, from 0.
    pub micro_step: u64,
    /// Seed for whatever this step draws outside torch; torch's generators are already seeded.
    pub seed: u64,
    /// Training or validation.
    pub phase: Phase,
    /// Weights of the deep-supervision levels, finest first, of sum 1.
    pub deep_supervision_weights: Vec<f64>,
}

/// A weight: a number, or a learned scalar tensor.
#[derive(Debug)]
pub enum Weight {
    /// Fixed for this step.
    Number(f64),
    /// A scalar in the graph.
    Learned(Tensor),
}

impl From<f64> for Weight {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<Tensor> for Weight {
    fn from(value: Tensor) -> Self {
        Self::Learned(value)
    }
}

/// What a loss comes to. A plain tensor is one that cannot be below 0, about all samples of the batch.
#[derive(Debug)]
pub struct Value {
    /// Scalar f32 tensor in the graph; `None` where there was nothing to compare.
    pub tensor: Option<Tensor>,
    /// The least that it can be, see [`Term::lowest`].
    pub lowest: f64,
    /// How many samples of the batch it is about; `None` for all.
    pub samples: Option<u64>,
}

impl From<Option<Tensor>> for Value {
    fn from(tensor: Option<Tensor>) -> Self {
        Self { tensor, lowest: 0.0, samples: None }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Some(tensor).into()
    }
}

/// One named term of a loss.
#[derive(Debug)]
pub struct Term {
    /// Names it in logs.
    pub name: String,
    /// Its weight.
    pub weight: Weight,
    /// Scalar f32 tensor, unweighted.
    pub value: Tensor,
    /// The least that the value can be: what weighting by ratios of losses measures from. 0 for most losses, -1 for nnU-Net's Dice, -infinity
    /// where there is no bound.
    pub lowest: f64,
    /// How many samples of the batch it is about; `None` for all.
    pub samples: Option<u64>,
}

/// Named terms. The host sums `weight · value`, so that every term is logged and can be weighted from outside.
#[derive(Debug, Default)]
pub struct Loss {
    /// In the order they were added.
    pub terms: Vec<Term>,
}

impl Loss {
    /// No terms yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a term; a [`Value`] that is empty adds nothing.
    pub fn term(&mut self, name: &str, weight: impl Into<Weight>, value: impl Into<Value>) {
        let Value { tensor, lowest, samples } = value.into();
        if let Some(value) = tensor {
            self.terms.push(Term { name: name.to_owned(), weight: weight.into(), value, lowest, samples });
        }
    }
}
