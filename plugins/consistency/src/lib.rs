//! An output that has no target: a prediction that another one must agree with.
//!
//! A network that is sure of what it says says the same when part of its features are missing. The Π-model (Laine and Aila 2017) looks at every
//! sample twice, with other features dropped, and adds the mean squared difference of the two predictions to the loss. That needs no annotation, so
//! it also teaches where there is none: voxels with the ignore label. A network that knows nothing agrees with itself best by saying the same
//! everywhere, so the weight rises slowly, along a Gaussian. Here the heads, not the whole network, look twice, which costs next to nothing.
//!
//! What to take from it:
//! - `aux` is the kind of an output that is there for the loss alone: it has no target, hence no metric, and leaves no file. Its shape is free.
//! - `forward` and `loss` are separate calls. What `loss` is to see of `forward` is an output.
//! - Torch's generators are seeded by the host before every call, from the run's seed and the step: dropout draws anew in every step, and draws
//!   the same again in a run that is resumed. Nothing needs a generator of its own.

use plugin_api::tch::{Kind::Float, Tensor};
use plugin_api::{Base, Batch, Error, Features, JsonSchema, Kind, Loss, Output, Outputs, Params, Pass, Result, Step, Task, Trainer};
use plugin_api::{bail, export_trainer};

/// The output of the second look.
const AGAIN: &str = "again";

#[derive(serde::Deserialize, JsonSchema)]
#[schemars(crate = "plugin_api::schemars")]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// Share of the feature maps that the second look misses, from 0 to below 1.
    dropout: f64,
    /// Weight of the disagreement once it has risen.
    weight: f64,
    /// Share of the epochs in which it rises, from 0 to 1.
    ramp_up: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { dropout: 0.5, weight: 1.0, ramp_up: 0.25 }
    }
}

struct Consistency {
    base: Base,
    outputs: Vec<Output>,
    options: Options,
    epochs: u64,
}

impl Trainer for Consistency {
    type Options = Options;

    fn new(task: &Task, options: Options, params: &mut Params) -> Result<Self> {
        let Options { dropout, weight, ramp_up } = options;
        if !(0.0..1.0).contains(&dropout) || !(0.0..=1.0).contains(&ramp_up) {
            bail!("dropout is {dropout} and ramp_up {ramp_up}; expected numbers from 0 to 1, dropout below it");
        }
        if !weight.is_finite() || weight < 0.0 {
            bail!("weight is {weight}; expected a number of at least 0");
        }
        let base = Base::single(task, params)?;
        let first = &base.outputs()[0];
        let again = Output { name: AGAIN.to_owned(), kind: Kind::Aux, target: None, levels: 1, ..first.clone() };
        Ok(Self { outputs: vec![first.clone(), again], base, options, epochs: task.epochs })
    }

    fn base(&self) -> &Base {
        &self.base
    }

    fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    fn forward(&self, features: &Features, pass: &Pass) -> Result<Outputs> {
        let finest = features.decoder.first().ok_or_else(|| Error::new("the network has no decoder"))?;
        // Nothing is dropped but in training: the two looks then see the same.
        let decoder = vec![finest.f_feature_dropout(self.options.dropout, pass.training)?];
        let fewer = Features { decoder, bottleneck: features.bottleneck.shallow_clone(), skips: Vec::new() };
        let again = self.base.forward(&fewer, &Pass { levels: 1, ..*pass })?;
        let mut outputs = self.base.forward(features, pass)?;
        outputs.push(AGAIN, again.get(&self.outputs[0].name)?[0].shallow_clone());
        Ok(outputs)
    }

    fn loss(&mut self, outputs: &Outputs, batch: &Batch, step: &Step) -> Result<Loss> {
        let mut loss = self.base.loss(outputs, batch, step)?;
        let [first, again] = [&self.outputs[0].name, AGAIN].map(|name| self.probabilities(&outputs.get(name)?[0]));
        loss.term("consistency", self.options.weight * self.ramp_up(step.epoch), (first? - again?).square().mean(Float));
        Ok(loss)
    }
}

impl Consistency {
    fn probabilities(&self, logits: &Tensor) -> Result<Tensor> {
        Ok(match self.outputs[0].kind {
            Kind::Regions => logits.f_sigmoid()?,
            _ => logits.f_softmax(1, Float)?,
        })
    }

    /// exp(−5 (1 − t)²), t running from 0 to 1 while the weight rises.
    fn ramp_up(&self, epoch: u64) -> f64 {
        let (epoch, rises) = (epoch as f64, self.options.ramp_up * self.epochs as f64);
        let t = if epoch < rises { epoch / rises } else { 1.0 };
        (-5.0 * (1.0 - t).powi(2)).exp()
    }
}

export_trainer!(Consistency, keeps = [activate, forward]);
