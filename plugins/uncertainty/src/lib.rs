//! What a learned loss weight is, by hand.
//!
//! How much should Dice weigh beside cross-entropy? Kendall, Gal and Cipolla (2018) let training decide. Every loss L gets a number s of its own,
//! ln σ², that is learned like a weight of the network, and enters the sum as exp(−s) (L − lowest) + s / 2. A large s makes a loss count little,
//! and s / 2 is the price of that. Where the two balance, exp(−s) is 1 / (2 (L − lowest)): the closer a loss is to the least that it can be, the
//! more it weighs. So this least must be known: nnU-Net's Dice goes down to −1, and without that, s would fall for ever.
//!
//! What to take from it:
//! - [`Params::loss_weight`] makes s. It has a group of its own in the optimiser, without weight decay and outside the clipped norm;
//!   `--loss-weights-rate` is its learning rate's factor.
//! - A weight may be a tensor. The host multiplies and sums, so the gradient reaches s as well as L, and L is logged without its weight.
//! - [`Value::lowest`] says what a loss can come down to, to the host's strategies (`--weighting dwa`) just as here.
//!
//! `Base::learn_weights` does the same to any outputs and losses: `multi-output` with `learned_weights`.

use plugin_api::losses::{BinaryCrossEntropy, Criterion, CrossEntropy, Dice};
use plugin_api::tch::Tensor;
use plugin_api::{Base, Batch, JsonSchema, Kind, Level, Loss, Outputs, Params, Result, Step, Task, Trainer, Value, bail, export_trainer};

#[derive(Default, serde::Deserialize, JsonSchema)]
#[schemars(crate = "plugin_api::schemars")]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// ln σ² that Dice begins with; its weight is exp(−this).
    dice: f64,
    /// ln σ² that cross-entropy begins with.
    cross_entropy: f64,
}

struct Uncertainty {
    base: Base,
    /// ln σ² of both losses, scalars.
    dice: Tensor,
    cross_entropy: Tensor,
}

impl Trainer for Uncertainty {
    type Options = Options;

    fn new(task: &Task, options: Options, params: &mut Params) -> Result<Self> {
        let Options { dice, cross_entropy } = options;
        // exp(20) is more than a weight can be meant to be, and far from what f32 can hold.
        if let Some(outside) = [dice, cross_entropy].into_iter().find(|s| !(-20.0..=20.0).contains(s)) {
            bail!("a loss begins with {outside} as its ln σ²; expected a number from -20 to 20");
        }
        Ok(Self {
            base: Base::single(task, params)?,
            dice: params.loss_weight("dice.log_variance", dice)?,
            cross_entropy: params.loss_weight("cross_entropy.log_variance", cross_entropy)?,
        })
    }

    fn base(&self) -> &Base {
        &self.base
    }

    fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
        let dice = self.base.supervise_by("segmentation", outputs, batch, step, &Dice::default())?;
        let cross_entropy = self.base.supervise("segmentation", outputs, batch, step, cross_entropy)?;
        let mut loss = Loss::new();
        add(&mut loss, "dice", &self.dice, dice);
        add(&mut loss, "cross_entropy", &self.cross_entropy, cross_entropy);
        Ok(loss)
    }
}

/// exp(−`s`) (L − lowest) + `s` / 2 as two terms, so that the log has L as it is: exp(−s) L, and what is left.
fn add(loss: &mut Loss, name: &str, s: &Tensor, value: Value) {
    if value.tensor.is_none() {
        return; // No case of the batch had anything to compare.
    }
    let precision = (-s).exp();
    let rest = s * 0.5 - &precision * value.lowest;
    loss.term(name, precision, value);
    // It is about no sample: watchdogs do not miss its gradient on the trunk.
    let rest = Value { tensor: Some(rest), lowest: f64::NEG_INFINITY, samples: Some(0) };
    loss.term(&format!("{name}.log_variance"), 1.0, rest);
}

fn cross_entropy(level: &Level) -> Result<Tensor> {
    match level.kind {
        Kind::Regions => BinaryCrossEntropy::default().compute(level),
        _ => CrossEntropy::default().compute(level),
    }
}

export_trainer!(Uncertainty, keeps = [activate, forward]);
