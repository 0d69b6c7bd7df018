//! Numbers that losses stumble over, and other forms of the same numbers.

use super::rig::{Rig, levels, map};
use super::{Content, Finding, Problem, Subject, must};
use crate::plugin::Observation;
use crate::shim::Autocast;
use crate::train::total;
use plugin_api::{Batch, Features, Outputs, Pass, Target, Term};
use tch::{Device, Kind as Dtype, Tensor};

/// Relative to what a term is in f32: less than half precision loses on its way through a few layers.
const HALF: f64 = 0.1;

/// Values and gradients on targets like `content`.
pub(super) fn finite_on(subject: &Subject, content: Content) -> Result<(), Finding> {
    let mut rig = subject.with(content)?;
    let logits = rig.logits()?;
    finite(&mut rig, &logits)
}

/// Values, which the host checks, and gradients.
fn finite(rig: &mut Rig, logits: &Outputs) -> Result<(), Finding> {
    let step = rig.step(0);
    let terms = rig.loss(logits, &step)?;
    finite_gradients(&terms, levels(logits))
}

fn finite_gradients<'a>(terms: &[Term], leaves: impl Iterator<Item = &'a Tensor>) -> Result<(), Finding> {
    // A term without a graph is a constant here, such as a loss of nothing.
    let in_graph: Vec<Tensor> = terms.iter().filter(|term| term.value.requires_grad()).map(|term| term.value.shallow_clone()).collect();
    if in_graph.is_empty() {
        return Ok(());
    }
    Tensor::f_stack(&in_graph, 0)?.f_sum(Dtype::Float)?.f_backward()?;
    for leaf in leaves {
        must!(has_finite_gradient(leaf)?, "its gradient has NaN or infinity");
    }
    Ok(())
}

/// Whether the gradient of `tensor` is finite, or there is none.
fn has_finite_gradient(tensor: &Tensor) -> Result<bool, Finding> {
    let gradient = tensor.grad();
    Ok(!gradient.defined() || f64::try_from(gradient.f_isfinite()?.f_all()?)? != 0.0)
}

/// Confident, right and wrong.
pub(super) fn large_logits(subject: &Subject) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    let logits = map(&rig.logits()?, |level| (level.detach().sign() * 1e4).set_requires_grad(true));
    finite(&mut rig, &logits)
}

/// Heads under autocast on features in half precision, as a trunk makes them.
pub(super) fn half(subject: &Subject, fp16: bool) -> Result<(), Finding> {
    let mut rig = subject.usual()?;
    let kind = if fp16 { Dtype::Half } else { Dtype::BFloat16 };
    let narrow = |map: &Tensor| map.to_kind(kind);
    let Features { decoder, bottleneck, skips } = &rig.features;
    let features = Features {
        decoder: decoder.iter().map(narrow).collect(),
        bottleneck: narrow(bottleneck),
        skips: skips.iter().map(narrow).collect(),
    };
    let step = rig.step(0);
    let pass = Pass { amp: true, ..rig.pass() };
    let outputs = {
        let _autocast = Autocast::enter(Device::Cpu, fp16).map_err(|e| Finding::failed(e.to_string()))?;
        rig.trainer.forward(&features, &pass, step.seed)?
    };
    let terms = rig.loss(&outputs, &step)?;
    let found = values(&terms)?;
    if let Some(loss) = total(&terms)? {
        loss.f_backward()?;
    }
    for (name, parameter) in rig.trained() {
        must!(has_finite_gradient(parameter)?, "the gradient of parameter '{name}' has NaN or infinity");
    }
    rig.trainer.observe();
    let expected = values(&rig.whole_step(&step)?)?;
    if rig.trainer.observe().iter().any(Observation::drew) {
        return Ok(());
    }
    for ((term, found), (_, expected)) in found.iter().zip(&expected) {
        if (found - expected).abs() > HALF * expected.abs().max(0.1) {
            return Err(Finding::Warning(format!("term '{term}' is {found}, in f32 {expected}: more than half precision loses")));
        }
    }
    Ok(())
}

/// The same values with other strides.
pub(super) fn layouts(subject: &Subject) -> Result<(), Finding> {
    for dims in [3, 2] {
        let mut rig = subject.rig(Problem { dims, ..Problem::USUAL })?;
        let step = rig.step(0);
        let logits = rig.logits()?;
        rig.trainer.observe();
        let (expected, expected_loss) = (rig.forward(&step)?, values(&rig.loss(&logits, &step)?)?);
        for (name, change) in [("not contiguous", strided as fn(&Tensor) -> Tensor), ("channels-last", channels_last)] {
            let change_all = |maps: &[Tensor]| maps.iter().map(change).collect();
            let Features { decoder, bottleneck, skips } = &rig.features;
            let features = Features { decoder: change_all(decoder), bottleneck: change(bottleneck), skips: change_all(skips) };
            let outputs = rig.trainer.forward(&features, &rig.pass(), step.seed)?;
            // What is drawn for one layout is not what is drawn for another.
            let drew = rig.trainer.observe().iter().any(Observation::drew);
            for (level, expected) in levels(&outputs).zip(levels(&expected)).filter(|_| !drew) {
                let off = f64::try_from((level - expected).abs().max())?;
                must!(off <= 1e-4, "{dims}D: an output differs by {off} where features are {name}");
            }
            let changed = |target: &Target| Target {
                levels: change_all(&target.levels),
                valid: change_all(&target.valid),
                presence: target.presence.shallow_clone(),
            };
            let targets = rig.batch.targets.iter().map(|(name, target)| (name.clone(), changed(target))).collect();
            let batch = Batch { image: change(&rig.batch.image), cases: rig.batch.cases.clone(), targets };
            let found = values(&rig.trainer.loss(&map(&logits, change), &batch, &step)?)?;
            let drew = rig.trainer.observe().iter().any(Observation::drew);
            for ((term, value), (_, expected)) in found.iter().zip(&expected_loss).filter(|_| !drew) {
                must!(close(*value, *expected), "{dims}D: term '{term}' is {value} where outputs and targets are {name}, else {expected}");
            }
        }
    }
    Ok(())
}

/// Name and value of every term.
pub(super) fn values(terms: &[Term]) -> Result<Vec<(String, f64)>, Finding> {
    terms.iter().map(|term| Ok((term.name.clone(), f64::try_from(&term.value)?))).collect()
}

/// Whether two values of a term are the same but for rounding.
pub(super) fn close(value: f64, expected: f64) -> bool {
    (value - expected).abs() <= 1e-4 * expected.abs().max(1.0)
}

/// Every second element of a larger tensor.
fn strided(tensor: &Tensor) -> Tensor {
    match tensor.dim() {
        0 => tensor.shallow_clone(),
        dims => Tensor::stack(&[tensor, tensor], -1).select(dims as i64, 0),
    }
}

/// Channels next to each other in memory, as (B, Y, X, C) has them.
fn channels_last(tensor: &Tensor) -> Tensor {
    match tensor.dim() {
        dims if dims > 2 => tensor.movedim_int(1, -1).contiguous().movedim_int(-1, 1),
        _ => tensor.shallow_clone(),
    }
}
