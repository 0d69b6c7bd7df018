//! Everything that a trainer gives for one step, to be compared.

use super::Finding;
use super::rig::{Rig, gradient, levels, map};
use crate::train::total;
use indexmap::IndexMap;
use plugin_api::{Kind, Outputs, Pass, Step, Weight};
use tch::{Kind as Dtype, Tensor};

/// How the name of a term's weight begins.
const WEIGHT: &str = "the weight of term";

/// Outputs in training and in evaluation, predictions, values and weights of terms, by name.
#[derive(Debug)]
pub(super) struct Given(Vec<(String, Tensor)>);

impl Given {
    /// Of the step number `iteration`.
    pub fn of(rig: &mut Rig, iteration: u64) -> Result<Self, Finding> {
        let step = rig.step(iteration);
        Self::at(rig, &step)
    }

    /// Of `step`.
    pub fn at(rig: &mut Rig, step: &Step) -> Result<Self, Finding> {
        let mut parts = Vec::new();
        let outputs = rig.forward(step)?;
        add(&mut parts, "output", &outputs);
        for term in rig.loss(&outputs, step)? {
            let weight = match &term.weight {
                Weight::Number(weight) => Tensor::from(*weight),
                Weight::Learned(weight) => weight.detach().to_kind(Dtype::Double),
            };
            parts.push((format!("term '{}'", term.name), term.value.detach().copy()));
            parts.push((format!("{WEIGHT} '{}'", term.name), weight));
        }
        let _no_grad = tch::no_grad_guard();
        let evaluated = rig.trainer.forward(&rig.features, &Pass { training: false, ..rig.pass() }, step.seed)?;
        add(&mut parts, "in evaluation, output", &evaluated);
        add(&mut parts, "the prediction of", &rig.trainer.activate(&predicting(rig, &evaluated))?);
        Ok(Self(parts))
    }

    /// The same, and the gradient of the whole loss by the outputs.
    pub fn with_gradient(rig: &mut Rig, step: &Step) -> Result<Self, Finding> {
        let Self(mut parts) = Self::at(rig, step)?;
        let leaves = map(&rig.forward(step)?, |level| level.detach().set_requires_grad(true));
        if let Some(loss) = total(&rig.loss(&leaves, step)?)? {
            for (i, leaf) in levels(&leaves).enumerate() {
                parts.extend(gradient(&loss, leaf)?.map(|gradient| (format!("the gradient of level {i}"), gradient)));
            }
        }
        Ok(Self(parts))
    }

    /// Whether every bit is the same.
    pub fn same_bits(&self, other: &Self) -> bool {
        let same = |((name, a), (other, b)): (&(String, Tensor), &(String, Tensor))| name == other && a.size() == b.size() && a.equal(b);
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(same)
    }

    /// The first output that is another one in training, but the same in evaluation.
    pub fn changed_in_training_only(&self, other: &Self) -> Option<&str> {
        let of = |name: &str| self.0.iter().zip(&other.0).find(|((part, _), _)| part == name).map(|((_, a), (_, b))| !a.equal(b));
        let outputs = self.0.iter().filter_map(|(name, _)| Some((name.as_str(), name.strip_prefix("output ")?)));
        outputs
            .filter(|(_, output)| of(&format!("in evaluation, output {output}")) == Some(false))
            .find(|(name, _)| of(name) == Some(true))
            .map(|(_, output)| output)
    }

    /// The first difference that is more than rounding.
    pub fn difference(&self, other: &Self) -> Result<Option<String>, Finding> {
        Ok(self.numbers()?.difference(&other.numbers()?))
    }

    /// Values of terms, by name.
    pub fn terms(&self) -> IndexMap<String, f64> {
        let term =
            |(part, value): &(String, Tensor)| Some((part.strip_prefix("term '")?.strip_suffix('\'')?.to_owned(), value.double_value(&[])));
        self.0.iter().filter_map(term).collect()
    }

    /// As plain numbers.
    pub fn numbers(&self) -> Result<Numbers, Finding> {
        let number = |(name, tensor): &(String, Tensor)| -> Result<(String, Vec<f64>), Finding> {
            Ok((name.clone(), Vec::try_from(tensor.f_to_kind(Dtype::Double)?.f_reshape([-1])?)?))
        };
        Ok(Numbers(self.0.iter().map(number).collect::<Result<_, _>>()?))
    }
}

/// What is [`Given`], for another process.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Numbers(Vec<(String, Vec<f64>)>);

impl Numbers {
    /// The first difference that is more than rounding.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.0.len() != other.0.len() {
            return Some(format!("there are {} outputs and terms, then {}", self.0.len(), other.0.len()));
        }
        self.0.iter().zip(&other.0).find_map(|((name, a), (other, b))| {
            if name != other || a.len() != b.len() {
                return Some(format!("{name} is {other}, or of another size"));
            }
            // Weights are exact, however small they are.
            let largest = a.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
            let allowed = if name.starts_with(WEIGHT) { 1e-6 * largest } else { 1e-4 * largest.max(1.0) };
            let off = a.iter().zip(b).map(|(a, b)| if a == b || (a.is_nan() && b.is_nan()) { 0.0 } else { (a - b).abs() });
            let off = off.fold(0.0, |most: f64, off| if off.is_nan() { off } else { most.max(off) });
            (off.is_nan() || off > allowed).then(|| match (&a[..], &b[..]) {
                ([a], [b]) => format!("{name} is {a}, then {b}"),
                _ => format!("{name} differs by {off}"),
            })
        })
    }
}

fn add(parts: &mut Vec<(String, Tensor)>, what: &str, outputs: &Outputs) {
    for (name, levels) in outputs.iter() {
        parts.extend(levels.iter().enumerate().map(|(i, level)| (format!("{what} '{name}', level {i},"), level.detach().copy())));
    }
}

/// The finest levels of the outputs that predict something.
pub(super) fn predicting(rig: &Rig, outputs: &Outputs) -> Outputs {
    let mut predicting = Outputs::new();
    for output in rig.trainer.outputs().iter().filter(|output| output.kind != Kind::Aux) {
        if let Some(finest) = outputs.get(&output.name).ok().and_then(|levels| levels.first()) {
            predicting.push(&output.name, finest.detach());
        }
    }
    predicting
}

/// Whether all levels of both are the same but for rounding; else how far they are apart.
pub(super) fn apart(a: &Outputs, b: &Outputs) -> Result<Option<f64>, Finding> {
    for (a, b) in levels(a).zip(levels(b)) {
        let off = f64::try_from((a - b).abs().max())?;
        let scale = f64::try_from(a.abs().max())?.max(1.0);
        // NaN is no agreement.
        if off.is_nan() || off > 1e-4 * scale {
            return Ok(Some(off));
        }
    }
    Ok(None)
}
