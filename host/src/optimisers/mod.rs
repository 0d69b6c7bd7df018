//! Optimisers: how a step moves tensors by their gradients. Another one is another file here, and its line in `OPTIMISERS`; nothing outside its file knows
//! its defaults, which settings it has, or what it remembers.

mod adam;
mod sgd;

use crate::shim;
use plugin_api::options::suggestion;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use tch::Tensor;

/// An optimiser, as torch has it. A tensor without a gradient is not touched, neither by what is remembered of it nor by decay.
pub trait Rule: Sync {
    /// As settings and checkpoints name it.
    fn name(&self) -> &'static str;

    /// What it is, for people.
    fn about(&self) -> &'static str;

    /// Learning rate and weight decay unless told otherwise.
    fn rates(&self) -> [f64; 2];

    /// Settings of [`Hyper`] that it has, of those that not every optimiser has.
    fn settings(&self) -> &'static [&'static str];

    /// What it remembers of `tensors` at first: by what it is (`velocity`, …), one a tensor.
    fn state(&self, hyper: &Hyper, tensors: &[Tensor]) -> State;

    /// One step.
    ///
    /// # Errors
    /// When libtorch fails.
    fn step(&self, hyper: &Hyper, tensors: &[Tensor], state: &State) -> Result<(), shim::Error>;
}

/// What an optimiser remembers.
pub type State = Vec<(&'static str, Vec<Tensor>)>;

/// Numbers that a step goes by.
#[derive(Clone, Copy, Debug)]
pub struct Hyper {
    /// Learning rate.
    pub lr: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Of SGD.
    pub momentum: f64,
    /// Decays of Adam's means.
    pub betas: [f64; 2],
    /// Of Adam.
    pub eps: f64,
    /// Adam divides by the largest mean square so far.
    pub amsgrad: bool,
}

static OPTIMISERS: &[&dyn Rule] = &[&sgd::Sgd, &adam::Adam { decoupled: false }, &adam::Adam { decoupled: true }];

/// All optimisers.
pub fn all() -> impl Iterator<Item = OptimiserKind> + Clone {
    OPTIMISERS.iter().map(|rule| OptimiserKind(*rule))
}

/// One of the optimisers. In JSON it is its name.
#[derive(Clone, Copy)]
pub struct OptimiserKind(&'static dyn Rule);

impl OptimiserKind {
    /// What it does.
    pub fn rule(self) -> &'static dyn Rule {
        self.0
    }
}

impl fmt::Debug for OptimiserKind {
    /// As a log has it: `Adamw`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (first, rest) = self.0.name().split_at(1);
        write!(f, "{}{rest}", first.to_uppercase())
    }
}

impl PartialEq for OptimiserKind {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl FromStr for OptimiserKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = all().map(|kind| kind.0.name());
        all().find(|kind| kind.0.name() == name).ok_or_else(|| format!("there is no optimiser '{name}'{}", suggestion(name, names)))
    }
}

impl Serialize for OptimiserKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for OptimiserKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for OptimiserKind {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Optimiser".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let of = |rule: &&dyn Rule| {
            let [lr, decay] = rule.rates();
            json_schema!({"const": rule.name(), "description": format!("{}; learning rate {lr}, weight decay {decay}", rule.about())})
        };
        json_schema!({"oneOf": OPTIMISERS.iter().map(of).collect::<Vec<_>>()})
    }
}
