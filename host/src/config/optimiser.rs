//! How weights are moved, as it is asked for: nnU-Net's way unless told otherwise. A plugin may give these in its manifest, an arm for itself.

use super::recipe::Recipe;
use super::schedule::Schedule;
use super::schema::Under;
use super::weighting::{Weighting, WeightingArg};
use crate::optimisers::OptimiserKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[schemars(transform = Under("Optimiser"))]
pub struct Asked {
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub common: Common,

    /// Initial learning rate; default: the optimiser's
    #[schemars(range(min = 0), extend("x-value" = "RATE"))]
    pub learning_rate: Option<f64>,

    /// Weight decay; default: the optimiser's
    #[schemars(range(min = 0), extend("x-value" = "DECAY"))]
    pub weight_decay: Option<f64>,

    /// Learning rate over the epochs
    #[schemars(extend("default" = "poly", "x-value" = "NAME"))]
    pub schedule: ScheduleName,

    /// Epochs of the linear part of warmup-poly
    #[schemars(range(min = 1), extend("default" = 50, "x-value" = "N", "x-with" = ["schedule", "warmup-poly"]))]
    pub warmup: u64,

    #[allow(missing_docs)]
    #[schemars(with = "Vec<String>", description = WeightingArg::about(), extend("default" = [], "x-value" = "STRATEGY|TERM=FACTOR", "x-repeated" = true))]
    pub weighting: Vec<WeightingArg>,
}

/// What is decided as it is asked for, and stands in checkpoints under the same names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = Under("Optimiser"))]
pub struct Common {
    /// Optimiser
    #[schemars(extend("default" = "sgd", "x-value" = "NAME"))]
    pub optimiser: OptimiserKind,

    /// Factor of the learning rate for what the plugin created
    #[schemars(range(min = 0), extend("default" = 1, "x-value" = "FACTOR"))]
    pub heads_rate: f64,

    /// Factor of the learning rate for learned loss weights
    #[schemars(range(min = 0), extend("default" = 1, "x-value" = "FACTOR"))]
    pub loss_weights_rate: f64,

    /// Momentum of sgd
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1, "default" = 0.99, "x-value" = "MOMENTUM"))]
    pub momentum: f64,

    /// Decays of the means of adam and adamw
    #[schemars(
        extend("items" = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}),
        extend("default" = [0.9, 0.999], "x-value" = "BETA,BETA")
    )]
    pub betas: [f64; 2],

    /// adam and adamw divide by the largest mean square so far
    #[schemars(extend("default" = false, "x-value" = "BOOL"))]
    pub amsgrad: bool,

    /// Bound on the norm of all gradients together
    #[schemars(extend("exclusiveMinimum" = 0, "default" = 12, "x-value" = "NORM"))]
    pub clip_norm: f64,

    /// Batches a step, whose gradients are averaged
    #[schemars(range(min = 1), extend("default" = 1, "x-value" = "N"))]
    pub accumulate: u64,

    /// Decay of a moving average of the weights, which is then validated and predicted with, e.g. 0.999; default: none
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1, "x-value" = "DECAY"))]
    pub ema: Option<f64>,
}

/// Learning rate over the epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleName {
    /// nnU-Net's polynomial decay
    Poly,
    /// Half a cosine, to zero
    Cosine,
    /// Linear at first, then polynomial
    WarmupPoly,
    /// The initial learning rate
    Constant,
}

impl Asked {
    /// Decides what is left open, for a run of `epochs`.
    ///
    /// # Errors
    /// When the schedule does not fit, in words that go on from where it was asked for.
    pub fn decide(&self, epochs: u64) -> Result<Recipe, String> {
        let [learning_rate, weight_decay] = self.common.optimiser.rule().rates();
        let schedule = match self.schedule {
            ScheduleName::WarmupPoly if self.warmup >= epochs => {
                return Err(format!("setting 'warmup': {} is not less than the {epochs} epochs", self.warmup));
            }
            ScheduleName::WarmupPoly => Schedule::WarmupPoly { epochs: self.warmup },
            ScheduleName::Cosine => Schedule::Cosine,
            ScheduleName::Constant => Schedule::Constant,
            ScheduleName::Poly => Schedule::Poly,
        };
        Ok(Recipe {
            common: self.common.clone(),
            learning_rate: self.learning_rate.unwrap_or(learning_rate),
            weight_decay: self.weight_decay.unwrap_or(weight_decay),
            eps: Recipe::EPS,
            schedule,
            weighting: Weighting::new(&self.weighting),
        })
    }
}
